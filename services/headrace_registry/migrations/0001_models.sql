-- Names are keys: they have the collation "C", the same order everywhere, and a rename goes on to all that has one.
CREATE TABLE models (
    tenant_id    text             NOT NULL,
    name         text COLLATE "C" NOT NULL,
    description  text             NOT NULL,
    tags         jsonb            NOT NULL,
    -- The version given last, deleted ones included; the next is one more.
    last_version int              NOT NULL DEFAULT 0,
    create_time  timestamptz      NOT NULL,
    update_time  timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE versions (
    tenant_id   text             NOT NULL,
    model_name  text COLLATE "C" NOT NULL,
    version     int              NOT NULL,
    model_id    text             NOT NULL,
    -- Empty where the logged model came from no run.
    run_id      text COLLATE "C" NOT NULL,
    description text             NOT NULL,
    tags        jsonb            NOT NULL,
    user_id     text             NOT NULL,
    -- Never before that of the version below.
    create_time timestamptz      NOT NULL,
    update_time timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, model_name, version),
    FOREIGN KEY (tenant_id, model_name) REFERENCES models ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE INDEX versions_by_time ON versions (tenant_id, create_time DESC, version DESC, model_name DESC);
CREATE INDEX versions_of_model ON versions (tenant_id, model_name, create_time DESC, version DESC);
CREATE INDEX versions_of_run ON versions (tenant_id, run_id, create_time DESC, version DESC, model_name DESC);

CREATE TABLE aliases (
    tenant_id  text             NOT NULL,
    model_name text COLLATE "C" NOT NULL,
    alias      text COLLATE "C" NOT NULL,
    version    int              NOT NULL,
    PRIMARY KEY (tenant_id, model_name, alias),
    FOREIGN KEY (tenant_id, model_name, version) REFERENCES versions ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE INDEX aliases_of_version ON aliases (tenant_id, model_name, version);

-- Which version a request made; outlives the version, so that a late repetition does not make another.
CREATE TABLE version_requests (
    tenant_id  text             NOT NULL,
    request_id uuid             NOT NULL,
    -- SHA-256 of what else the request said.
    digest     bytea            NOT NULL,
    model_name text COLLATE "C" NOT NULL,
    version    int              NOT NULL,
    CONSTRAINT version_requests_id PRIMARY KEY (tenant_id, request_id),
    FOREIGN KEY (tenant_id, model_name) REFERENCES models ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE INDEX version_requests_of_model ON version_requests (tenant_id, model_name);

-- Events on their way to the bus.
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
