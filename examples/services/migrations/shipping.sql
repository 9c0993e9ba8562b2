-- Run as shipping_migrator, once it may refer to billing.invoices.
CREATE TABLE shipping.shipments (
    id                 integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    billing_invoice_id integer NOT NULL REFERENCES billing.invoices,
    destination        text NOT NULL,
    status             text NOT NULL DEFAULT 'pending'
);
