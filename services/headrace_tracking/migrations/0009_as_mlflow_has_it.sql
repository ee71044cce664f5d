-- What MLflow's clients record, and Headrace's own did not.

-- Where they keep the files of an experiment's runs by themselves; empty: in Headrace's store.
ALTER TABLE experiments ADD COLUMN artifact_location text NOT NULL DEFAULT '';

-- Logged models that a run used or made: {"in": {"m-...": 0}, "out": {"m-...": step}}. A document of the run, as its params are:
-- pages of runs are read as often as they were.
ALTER TABLE runs ADD COLUMN models jsonb NOT NULL DEFAULT '{}';

ALTER TABLE logged_models ADD COLUMN user_id text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE logged_models ADD COLUMN delete_ms bigint;

-- The latest points of what was measured of a model, by (step, time, value): by which run, on which dataset.
CREATE TABLE logged_model_metrics (
    tenant_id      text             NOT NULL,
    experiment_id  bigint           NOT NULL,
    model_id       uuid             NOT NULL,
    key            text COLLATE "C" NOT NULL,
    -- Both empty: on none.
    dataset_name   text COLLATE "C" NOT NULL,
    dataset_digest text COLLATE "C" NOT NULL,
    run_id         uuid             NOT NULL,
    value          float8           NOT NULL,
    step           bigint           NOT NULL,
    time_ms        bigint           NOT NULL,
    PRIMARY KEY (tenant_id, model_id, key, dataset_name, dataset_digest, run_id),
    FOREIGN KEY (tenant_id, model_id) REFERENCES logged_models ON DELETE CASCADE
);

CREATE INDEX logged_model_metrics_of_experiment ON logged_model_metrics (tenant_id, experiment_id, key, value);
