-- All times are milliseconds since 1970-01-01 UTC, as metrics have them. delete_ms says since when something is in
-- the bin; NULL while it is active. Text that is compared or ordered has the collation "C": the same everywhere.

CREATE TABLE experiment_counters (
    tenant_id text   PRIMARY KEY,
    -- The id given last; experiment 0, Default, takes none.
    last      bigint NOT NULL
);

CREATE TABLE experiments (
    tenant_id     text             NOT NULL,
    experiment_id bigint           NOT NULL,
    name          text COLLATE "C" NOT NULL,
    tags          jsonb            NOT NULL,
    create_ms     bigint           NOT NULL,
    update_ms     bigint           NOT NULL,
    delete_ms     bigint,
    request_id    uuid,
    PRIMARY KEY (tenant_id, experiment_id),
    CONSTRAINT experiments_name UNIQUE (tenant_id, name),
    CONSTRAINT experiments_request UNIQUE (tenant_id, request_id)
);

CREATE INDEX experiments_by_time ON experiments (tenant_id, create_ms DESC, experiment_id);

CREATE TABLE runs (
    tenant_id     text             NOT NULL,
    run_id        uuid             NOT NULL,
    experiment_id bigint           NOT NULL,
    user_id       text COLLATE "C" NOT NULL,
    -- RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.
    state         text COLLATE "C" NOT NULL,
    start_ms      bigint           NOT NULL,
    end_ms        bigint,
    -- Of the run itself. It is also deleted while its experiment is, however many runs that has.
    delete_ms     bigint,
    -- Key to value, all text. The run's name is the tag mlflow.runName, and nowhere else.
    params        jsonb            NOT NULL,
    tags          jsonb            NOT NULL,
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES experiments
-- Room on the page: the end of a run then touches none of the indexes.
) WITH (fillfactor = 85);

-- The default order of a search.
CREATE INDEX runs_by_time ON runs (tenant_id, experiment_id, start_ms DESC, run_id);
-- Equality on params and tags, any number of them.
CREATE INDEX runs_by_params ON runs USING gin (params jsonb_path_ops);
CREATE INDEX runs_by_tags ON runs USING gin (tags jsonb_path_ops);

CREATE TABLE datasets (
    tenant_id     text             NOT NULL,
    experiment_id bigint           NOT NULL,
    name          text COLLATE "C" NOT NULL,
    digest        text COLLATE "C" NOT NULL,
    source_type   text             NOT NULL,
    source        text             NOT NULL,
    schema        text             NOT NULL,
    profile       text             NOT NULL,
    PRIMARY KEY (tenant_id, experiment_id, name, digest),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES experiments
);

-- Which run used which dataset.
CREATE TABLE run_inputs (
    tenant_id     text             NOT NULL,
    run_id        uuid             NOT NULL,
    experiment_id bigint           NOT NULL,
    name          text COLLATE "C" NOT NULL,
    digest        text COLLATE "C" NOT NULL,
    tags          jsonb            NOT NULL,
    PRIMARY KEY (tenant_id, run_id, name, digest),
    FOREIGN KEY (tenant_id, run_id) REFERENCES runs,
    FOREIGN KEY (tenant_id, experiment_id, name, digest) REFERENCES datasets
);

CREATE TABLE logged_models (
    tenant_id     text   NOT NULL,
    model_id      uuid   NOT NULL,
    experiment_id bigint NOT NULL,
    run_id        uuid,
    name          text   NOT NULL,
    model_type    text   NOT NULL,
    -- PENDING, READY or FAILED.
    state         text   NOT NULL,
    state_message text   NOT NULL,
    params        jsonb  NOT NULL,
    tags          jsonb  NOT NULL,
    create_ms     bigint NOT NULL,
    update_ms     bigint NOT NULL,
    PRIMARY KEY (tenant_id, model_id),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES experiments,
    FOREIGN KEY (tenant_id, run_id) REFERENCES runs
);

CREATE INDEX logged_models_of_experiment ON logged_models (tenant_id, experiment_id, create_ms DESC, model_id);
CREATE INDEX logged_models_of_run ON logged_models (tenant_id, run_id, create_ms DESC, model_id)
    WHERE run_id IS NOT NULL;

-- headrace_kit.outbox.OUTBOX_DDL
CREATE TABLE outbox (
    tenant_id   text        NOT NULL,
    event_id    uuid        NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    topic       text        NOT NULL,
    key         text        NOT NULL,
    type        text        NOT NULL,
    subject     text        NOT NULL,
    value       bytea       NOT NULL,
    traceparent text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, event_id)
);
