-- Run as migrator in database shipping. Invoices are in another database, where nothing can refer to.
CREATE TABLE shipping.shipments (
    id                 integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    billing_invoice_id integer NOT NULL,
    destination        text NOT NULL,
    status             text NOT NULL DEFAULT 'pending'
);
