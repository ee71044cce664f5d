CREATE TABLE webhooks (
    tenant_id   text        NOT NULL,
    webhook_id  uuid        NOT NULL,
    name        text        NOT NULL,
    description text        NOT NULL,
    url         text        NOT NULL,
    -- Such as model_version.created, in order of name.
    events      text[]      NOT NULL,
    -- Encrypted with the installation's key; empty where deliveries are not signed.
    secret      bytea       NOT NULL,
    disabled    boolean     NOT NULL,
    -- Since when it is not disabled, by the clock that events are told the time by: what was before is none of its business.
    active_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    -- Of one that is deleted; some days later it is gone.
    delete_time timestamptz,
    PRIMARY KEY (tenant_id, webhook_id)
);

CREATE INDEX webhooks_by_time ON webhooks (tenant_id, create_time DESC, webhook_id DESC) WHERE delete_time IS NULL;

CREATE TABLE webhook_deliveries (
    tenant_id   text        NOT NULL,
    delivery_id uuid        NOT NULL,
    webhook_id  uuid        NOT NULL,
    -- PENDING, DELIVERED, FAILED or DROPPED.
    state       text        NOT NULL DEFAULT 'PENDING',
    -- Empty once it is not pending any more.
    body        bytea       NOT NULL,
    attempts    int         NOT NULL DEFAULT 0,
    -- When to try; while somebody does, when to think that he died.
    due_time    timestamptz NOT NULL DEFAULT now(),
    create_time timestamptz NOT NULL DEFAULT now(),
    finish_time timestamptz,
    -- Of the last attempt: the status of the answer, 0 for none, and what was wrong.
    status      int         NOT NULL DEFAULT 0,
    problem     text        NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, delivery_id),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (tenant_id, webhook_id, due_time) WHERE state = 'PENDING';
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (tenant_id, webhook_id);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finish_time);

-- The registry hears its own events, each once.
CREATE TABLE handled_events (
    tenant_id   text        NOT NULL,
    consumer    text        NOT NULL,
    event_id    text        NOT NULL,
    handle_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, consumer, event_id)
);
CREATE INDEX handled_events_by_time ON handled_events (handle_time);
