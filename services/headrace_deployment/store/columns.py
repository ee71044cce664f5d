"""Statements that several functions share: every column named, once."""

from typing import Final, LiteralString

SELECT_DEPLOYMENT: Final[LiteralString] = (
    "SELECT tenant_id, name, model_name, alias, wanted_version, wanted_model_id, kept_version, kept_model_id, state,"
    " message, attempts, retry_time, traceparent, create_time, update_time FROM deployment.deployments"
)
INSERT_DEPLOYMENT: Final[LiteralString] = (
    "INSERT INTO deployment.deployments (tenant_id, name, model_name, alias, wanted_version, wanted_model_id,"
    " kept_version, kept_model_id, state, message, attempts, retry_time, traceparent, create_time, update_time)"
    " VALUES (%(tenant_id)s, %(name)s, %(model_name)s, %(alias)s, %(wanted_version)s, %(wanted_model_id)s,"
    " %(kept_version)s, %(kept_model_id)s, %(state)s, %(message)s, %(attempts)s, %(retry_time)s, %(traceparent)s,"
    " %(create_time)s, %(update_time)s) ON CONFLICT DO NOTHING"
)
UPDATE_DEPLOYMENT: Final[LiteralString] = (
    "UPDATE deployment.deployments SET wanted_version = %(wanted_version)s, wanted_model_id = %(wanted_model_id)s,"
    " kept_version = %(kept_version)s, kept_model_id = %(kept_model_id)s, state = %(state)s, message = %(message)s,"
    " attempts = %(attempts)s, retry_time = %(retry_time)s, traceparent = %(traceparent)s,"
    " update_time = %(update_time)s WHERE tenant_id = %(tenant_id)s AND name = %(name)s"
)
SELECT_INSTANCE: Final[LiteralString] = (
    "SELECT tenant_id, instance_id, deployment_name, version, model_id, state, message, routed, address,"
    " drain_generation, create_time, ready_time, update_time FROM deployment.instances"
)
INSERT_INSTANCE: Final[LiteralString] = (
    "INSERT INTO deployment.instances (tenant_id, instance_id, deployment_name, version, model_id, state, message,"
    " routed, address, drain_generation, create_time, ready_time, update_time) VALUES (%(tenant_id)s, %(instance_id)s,"
    " %(deployment_name)s, %(version)s, %(model_id)s, %(state)s, %(message)s, %(routed)s, %(address)s,"
    " %(drain_generation)s, %(create_time)s, %(ready_time)s, %(update_time)s)"
)
INSERT_HISTORY: Final[LiteralString] = (
    "INSERT INTO deployment.history (tenant_id, deployment_name, time, version, what, message)"
    " VALUES (%(tenant_id)s, %(name)s, %(now)s, %(version)s, %(what)s, %(message)s)"
)
LISTEN: Final[LiteralString] = "LISTEN deployment_work"
NOTIFY: Final[LiteralString] = "NOTIFY deployment_work"
"""Calls the reconciler: there may be something to do."""
