-- Runs and logged models that tracking has purged: their files go. A row stays for a while when they are gone, so that
-- no upload that began before brings one back; see collector.py.
CREATE TABLE purged_owners (
    tenant_id  text        NOT NULL,
    -- As in artifacts.
    owner_id   text        NOT NULL,
    -- When somebody looks at it next.
    due_time   timestamptz NOT NULL,
    -- When the last file was gone.
    empty_time timestamptz,
    PRIMARY KEY (tenant_id, owner_id)
);
CREATE INDEX purged_owners_due ON purged_owners (due_time);

-- headrace_kit.bus.handler.HANDLED_EVENTS_DDL
CREATE TABLE handled_events (
    tenant_id   text        NOT NULL,
    consumer    text        NOT NULL,
    event_id    text        NOT NULL,
    handle_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, consumer, event_id)
);
CREATE INDEX handled_events_by_time ON handled_events (handle_time);
