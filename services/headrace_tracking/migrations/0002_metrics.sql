-- The metric path: what the writer keeps in one transaction, and where it stands on the bus.

-- Points of one series, ordered by (time, step, value) within a chunk; see chunks.py for the bytes.
-- Chunks of a series may overlap: readers merge them.
CREATE TABLE metric_chunks (
    tenant_id text NOT NULL,
    run_id uuid NOT NULL,
    key text COLLATE "C" NOT NULL,
    first_time_ms bigint NOT NULL,
    first_step bigint NOT NULL,
    chunk_id bigint GENERATED ALWAYS AS IDENTITY,
    last_time_ms bigint NOT NULL,
    last_step bigint NOT NULL,
    points integer NOT NULL,
    -- From unary calls: no point of these chunks is equal to another point of them.
    once_per_point boolean NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (tenant_id, run_id, key, first_time_ms, first_step, chunk_id)
);
-- Compressed already.
ALTER TABLE metric_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
-- Finds what a point of a unary call may be equal to. Such a point is mostly the newest: little lies behind it.
CREATE INDEX metric_chunks_once ON metric_chunks (tenant_id, run_id, key, last_time_ms, last_step)
    WHERE once_per_point;

-- The latest point of each series, by (step, time, value), NaN taken as 0.
CREATE TABLE metric_latest (
    tenant_id text NOT NULL,
    run_id uuid NOT NULL,
    experiment_id bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    value double precision NOT NULL,
    step bigint NOT NULL,
    time_ms bigint NOT NULL,
    PRIMARY KEY (tenant_id, run_id, key)
);
CREATE INDEX metric_latest_search ON metric_latest (tenant_id, experiment_id, key, value, run_id);

-- Every frame up to applied_seq is applied.
CREATE TABLE ingest_producers (
    tenant_id text NOT NULL,
    run_id uuid NOT NULL,
    producer_id bytea NOT NULL,
    applied_seq bigint NOT NULL,
    PRIMARY KEY (tenant_id, run_id, producer_id)
) WITH (fillfactor = 50);

-- Frames that arrived before one of lower seq; applied when the gap closes.
CREATE TABLE ingest_parked (
    tenant_id text NOT NULL,
    run_id uuid NOT NULL,
    producer_id bytea NOT NULL,
    seq bigint NOT NULL,
    partition_number integer NOT NULL,
    record_offset bigint NOT NULL,
    frame bytea NOT NULL,
    PRIMARY KEY (tenant_id, run_id, producer_id, seq)
);
ALTER TABLE ingest_parked ALTER COLUMN frame SET STORAGE EXTERNAL;
COMMENT ON TABLE ingest_parked IS 'system: the writer alone reads and writes it';

-- Where the writer of each partition goes on. Whoever takes a partition raises owner_epoch; who has another epoch
-- in mind commits nothing.
CREATE TABLE ingest_partitions (
    partition_number integer PRIMARY KEY,
    next_offset bigint NOT NULL,
    owner_epoch bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE ingest_partitions IS 'system: offsets of the frames topic, of no tenant';
-- Reads that ask for a position wait for next_offset.
GRANT SELECT ON ingest_partitions TO headrace_tracking;
