-- A partition is also the lock of its producers: whoever holds its row gives out the next offsets, so that offsets
-- have no gaps and become visible in order.
CREATE TABLE partitions (
    partition_id int    GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic        text   NOT NULL,
    number       int    NOT NULL,
    next_offset  bigint NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
) WITH (fillfactor = 50);  -- one update a batch: room for it in the page
COMMENT ON TABLE partitions IS 'system: records of all tenants lie in every partition';

CREATE TABLE records (
    partition_id  int         NOT NULL,
    record_offset bigint      NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT now(),
    key           bytea       NOT NULL,
    value         bytea       NOT NULL,
    -- Values as text of one character a byte.
    headers       json        NOT NULL,
    PRIMARY KEY (partition_id, record_offset)
);
-- Frames come compressed, events are small.
ALTER TABLE records ALTER COLUMN value SET STORAGE EXTERNAL;
COMMENT ON TABLE records IS 'system: the tenant is a header of each record';

CREATE TABLE members (
    group_name  text        NOT NULL,
    member_id   uuid        NOT NULL,
    topics      text[]      NOT NULL,
    -- Key of the advisory lock that the member's process holds while it lives.
    session_key bigint      NOT NULL,
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (group_name, member_id)
);
COMMENT ON TABLE members IS 'system: consumers serve all tenants';

CREATE TABLE claims (
    group_name       text   NOT NULL,
    partition_id     int    NOT NULL,
    member_id        uuid,
    -- Grows with every change of owner.
    epoch            bigint NOT NULL DEFAULT 0,
    committed_offset bigint,
    PRIMARY KEY (group_name, partition_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE claims IS 'system: consumers serve all tenants';
