-- Files that come in parts, and what became of them; a row goes when its time is over.
CREATE TABLE uploads (
    tenant_id   text        NOT NULL,
    upload_id   uuid        NOT NULL,
    -- What it is to become, as in artifacts.
    owner_id    text        NOT NULL,
    path        text        NOT NULL,
    media_type  text        NOT NULL,
    part_count  int         NOT NULL,
    state       text        NOT NULL CHECK (state IN ('open', 'completed', 'aborted')),
    -- What it became.
    artifact_id uuid,
    -- From then on it is forgotten, and its parts are deleted.
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, upload_id)
);
CREATE INDEX uploads_expire ON uploads (expire_time);

-- Parts of open uploads. Their blobs stay in loose_blobs, due when the upload expires.
CREATE TABLE upload_parts (
    tenant_id  text   NOT NULL,
    upload_id  uuid   NOT NULL,
    number     int    NOT NULL,
    size_bytes bigint NOT NULL,
    sha256     bytea  NOT NULL,
    blob_key   text   NOT NULL,
    PRIMARY KEY (tenant_id, upload_id, number),
    FOREIGN KEY (tenant_id, upload_id) REFERENCES uploads ON DELETE CASCADE
);
