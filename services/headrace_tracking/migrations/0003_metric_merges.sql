-- Notes of the writer: this series has small chunks. A note a row, several may be of one series; see merger/.
CREATE TABLE metric_merges (
    note_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    run_id uuid NOT NULL,
    key text COLLATE "C" NOT NULL,
    once_per_point boolean NOT NULL
-- A queue: all that is in it goes within seconds.
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE metric_merges IS 'system: the writer and the merger alone read and write it';

-- A merge leaves its small chunks behind as dead rows: at the default, a fifth of a large table could be such.
ALTER TABLE metric_chunks SET (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
