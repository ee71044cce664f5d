CREATE TABLE workspaces (
    tenant_id             text        NOT NULL CONSTRAINT workspaces_tenant REFERENCES tenants,
    name                  text        NOT NULL,
    description           text        NOT NULL,
    default_artifact_root text        NOT NULL,
    create_time           timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
