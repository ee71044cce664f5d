CREATE TABLE deployments (
    tenant_id       text             NOT NULL,
    -- The model's name, with "@alias" behind it unless that is "production".
    name            text COLLATE "C" NOT NULL,
    model_name      text COLLATE "C" NOT NULL,
    alias           text COLLATE "C" NOT NULL,
    -- What the newest promotion asks for; 0 and '' where nothing should serve.
    wanted_version  int              NOT NULL,
    wanted_model_id text             NOT NULL,
    -- What had the traffic last: it keeps it until the wanted version is ready, and is started again when it dies.
    kept_version    int              NOT NULL DEFAULT 0,
    kept_model_id   text             NOT NULL DEFAULT '',
    -- DEPLOYING, SERVING, FAILED or STOPPED.
    state           text             NOT NULL,
    message         text             NOT NULL DEFAULT '',
    -- Deaths in a row, and when to start again after the last.
    attempts        int              NOT NULL DEFAULT 0,
    retry_time      timestamptz,
    -- Of the newest promotion.
    traceparent     text             NOT NULL,
    create_time     timestamptz      NOT NULL,
    update_time     timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE instances (
    tenant_id        text             NOT NULL,
    instance_id      text COLLATE "C" NOT NULL,
    deployment_name  text COLLATE "C" NOT NULL,
    version          int              NOT NULL,
    model_id         text             NOT NULL,
    -- STARTING, READY, DRAINING, STOPPED or FAILED.
    state            text             NOT NULL,
    message          text             NOT NULL DEFAULT '',
    -- Whether the route table has it.
    routed           boolean          NOT NULL DEFAULT false,
    address          text             NOT NULL DEFAULT '',
    -- The first route table without it: drained when all routers use that one or a later one.
    drain_generation bigint           NOT NULL DEFAULT 0,
    create_time      timestamptz      NOT NULL,
    ready_time       timestamptz,
    update_time      timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, instance_id),
    FOREIGN KEY (tenant_id, deployment_name) REFERENCES deployments
);

CREATE INDEX instances_of_deployment ON instances (tenant_id, deployment_name, create_time DESC);
CREATE INDEX instances_live ON instances (tenant_id, deployment_name) WHERE state IN ('STARTING', 'READY', 'DRAINING');

CREATE TABLE history (
    tenant_id       text             NOT NULL,
    deployment_name text COLLATE "C" NOT NULL,
    entry_id        bigint GENERATED ALWAYS AS IDENTITY,
    time            timestamptz      NOT NULL,
    version         int              NOT NULL,
    what            text             NOT NULL,
    message         text             NOT NULL,
    PRIMARY KEY (tenant_id, deployment_name, entry_id),
    FOREIGN KEY (tenant_id, deployment_name) REFERENCES deployments
);

-- One row: the number of the route table, which only grows; locked by whoever changes what is routed.
CREATE TABLE route_table (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation bigint  NOT NULL
);
COMMENT ON TABLE route_table IS 'system: counts the changes of the route table of all tenants';
INSERT INTO route_table (generation) VALUES (1);

CREATE TABLE routers (
    router_id  uuid        PRIMARY KEY,
    -- The table it said it uses.
    generation bigint      NOT NULL,
    seen_time  timestamptz NOT NULL
);
COMMENT ON TABLE routers IS 'system: routers that watch the route table, of any replica of this service';

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

CREATE TABLE handled_events (
    tenant_id   text        NOT NULL,
    consumer    text        NOT NULL,
    event_id    text        NOT NULL,
    handle_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, consumer, event_id)
);
CREATE INDEX handled_events_by_time ON handled_events (handle_time);
