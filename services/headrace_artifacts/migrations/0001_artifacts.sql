CREATE TABLE artifacts (
    tenant_id   text        NOT NULL,
    artifact_id uuid        NOT NULL,
    -- A run's id, or a model's with its "m-".
    owner_id    text        NOT NULL,
    -- Ordered by code point: pages and folders are ranges of the index.
    path        text COLLATE "C" NOT NULL,
    size_bytes  bigint      NOT NULL,
    sha256      bytea       NOT NULL,
    media_type  text        NOT NULL,
    blob_key    text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, artifact_id),
    CONSTRAINT artifacts_path UNIQUE (tenant_id, owner_id, path)
);

-- Blobs that no artifact has: being uploaded (then an artifact takes the row away), or to be deleted.
CREATE TABLE loose_blobs (
    tenant_id text        NOT NULL,
    blob_key  text        NOT NULL,
    -- False: to be deleted; no artifact can take it any more.
    uploading bool        NOT NULL,
    -- When the sweeper deletes it. An upload that goes on moves it ahead.
    due_time  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, blob_key)
);

CREATE INDEX loose_blobs_due ON loose_blobs (due_time);

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
