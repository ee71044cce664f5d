-- Finished runs in Parquet files in the object store; see archiver/.

ALTER TABLE metric_chunks
    ALTER COLUMN data DROP NOT NULL,
    -- Where the points are when data is NULL: so many rows, from first_row on, of a row group of a file.
    ADD COLUMN archive_id uuid,
    ADD COLUMN row_group integer,
    ADD COLUMN first_row integer,
    -- Not valid: the rows before it all have their bytes, and looking at them would take long.
    ADD CONSTRAINT metric_chunks_place CHECK (num_nonnulls(data, archive_id) = 1) NOT VALID;

-- The file of a run.
CREATE TABLE metric_archives (
    tenant_id  text   NOT NULL,
    run_id     uuid   NOT NULL,
    archive_id uuid   NOT NULL,
    points     bigint NOT NULL,
    size_bytes bigint NOT NULL,
    PRIMARY KEY (tenant_id, run_id)
);

-- Files that no run has: being written (then a run takes the row away), or to be deleted.
CREATE TABLE loose_archives (
    tenant_id  text        NOT NULL,
    archive_id uuid        NOT NULL,
    -- False: to be deleted; no run can take it any more.
    writing    boolean     NOT NULL,
    -- When it is deleted.
    due_time   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, archive_id)
);
CREATE INDEX loose_archives_due ON loose_archives (due_time);

-- True: the archiver is done with the run. Its end makes it false again, late points leave a note.
ALTER TABLE runs ADD COLUMN metrics_settled boolean NOT NULL DEFAULT false;
CREATE INDEX runs_to_archive ON runs (end_ms) WHERE NOT metrics_settled AND end_ms IS NOT NULL;

-- Notes of the writer: points came for this run after the archiver was done with it.
CREATE TABLE late_metrics (
    note_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text   NOT NULL,
    run_id    uuid   NOT NULL
);
COMMENT ON TABLE late_metrics IS 'system: the writer and the archiver alone read and write it';
