-- Run as migrator in database billing.
CREATE TABLE billing.customers (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE
);

CREATE TABLE billing.invoices (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  integer NOT NULL REFERENCES billing.customers,
    amount_cents integer NOT NULL CHECK (amount_cents > 0),
    status       text NOT NULL DEFAULT 'open'
);
