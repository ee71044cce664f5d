CREATE TABLE tenants (
    tenant_id    text PRIMARY KEY,
    display_name text        NOT NULL,
    create_time  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
    tenant_id   text        NOT NULL CONSTRAINT tokens_tenant REFERENCES tenants,
    token_id    uuid        NOT NULL,
    -- HMAC-SHA256 of the secret under the installation's key.
    digest      bytea       NOT NULL,
    name        text        NOT NULL,
    role        int         NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz,
    revoke_time timestamptz,
    PRIMARY KEY (tenant_id, token_id)
);

-- The one look-up without a tenant: it is what tells the tenant.
CREATE UNIQUE INDEX tokens_digest ON tokens (digest);
CREATE INDEX tokens_by_time ON tokens (tenant_id, create_time DESC, token_id);
