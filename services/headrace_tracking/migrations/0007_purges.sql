-- What lies in the bin is removed for good after a while, or on demand; see purger/.

CREATE INDEX runs_in_bin ON runs (delete_ms) WHERE delete_ms IS NOT NULL;
CREATE INDEX experiments_in_bin ON experiments (delete_ms) WHERE delete_ms IS NOT NULL;
-- Whether any run uses a dataset, which is asked when one that did goes.
CREATE INDEX run_inputs_of_dataset ON run_inputs (tenant_id, experiment_id, name, digest);

-- Runs that are gone. Written by the transaction that deletes the run; then its metrics are deleted step by step, and
-- the row stays for a while, so that what comes late for the run is known to be of no use.
CREATE TABLE purges (
    tenant_id text        NOT NULL,
    run_id    uuid        NOT NULL,
    -- When somebody looks at it next: in turns.
    due_time  timestamptz NOT NULL DEFAULT now(),
    -- Every transaction that may have seen the run, and may still write to it, has a lower number.
    horizon   xid8,
    -- When the last row of it was gone.
    done_time timestamptz,
    PRIMARY KEY (tenant_id, run_id)
) WITH (fillfactor = 50);
CREATE INDEX purges_due ON purges (due_time) WHERE done_time IS NULL;
CREATE INDEX purges_done ON purges (done_time) WHERE done_time IS NOT NULL;
