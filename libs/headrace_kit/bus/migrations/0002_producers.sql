-- The last batch of each producer that is on the bus, written in the batch's own transaction: a producer that lost its
-- connection in a commit learns from it what became of the batch. (pg_xact_status cannot tell after a crash of the server:
-- the number of a transaction that was lost is given to another one.)
CREATE TABLE producers (
    producer_id uuid        PRIMARY KEY,
    last_batch  bigint      NOT NULL,
    update_time timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);  -- one update a batch
COMMENT ON TABLE producers IS 'system: producers serve all tenants';
