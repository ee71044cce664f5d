"""How the fields of runs, experiments and logged models stand in the database."""

from typing import Final
from uuid import UUID

from headrace_kit.search.tables import Column, Table, integer, uuid


def _model_uuid(text: str) -> UUID | None:
    return uuid(text[2:]) if text.startswith("m-") else None


RUNS: Final = Table(
    source="tracking.runs",
    alias="r",
    id="run_id",
    columns={
        "run_id": Column("r.run_id", "uuid", "replace(r.run_id::text, '-', '')", uuid),
        "user_id": Column("r.user_id", "text", 'r.user_id COLLATE "default"'),
        "status": Column("r.state", "text", 'r.state COLLATE "default"'),
        "start_time": Column("r.start_ms", "bigint"),
        "end_time": Column("r.end_ms", "bigint", nullable=True),
    },
    ties=(("start_time", True), ("run_id", False)),
    values="tracking.metric_latest",
    value="tracking.metric_latest",
    inputs="tracking.run_inputs",
    indexed=True,
)
EXPERIMENTS: Final = Table(
    source="tracking.experiments",
    alias="e",
    id="experiment_id",
    columns={
        "experiment_id": Column("e.experiment_id", "bigint", "e.experiment_id::text", integer),
        "name": Column("e.name", "text", 'e.name COLLATE "default"'),
        "create_time": Column("e.create_ms", "bigint"),
        "update_time": Column("e.update_ms", "bigint"),
    },
    ties=(("create_time", True), ("experiment_id", False)),
)
LOGGED_MODELS: Final = Table(
    source="tracking.logged_models",
    alias="l",
    id="model_id",
    columns={
        "model_id": Column("l.model_id", "uuid", "'m-' || replace(l.model_id::text, '-', '')", _model_uuid),
        "run_id": Column(
            "coalesce(replace(l.run_id::text, '-', ''), '')", "text", "coalesce(replace(l.run_id::text, '-', ''), '')"
        ),
        "name": Column("l.name", "text", 'l.name COLLATE "default"'),
        "model_type": Column("l.model_type", "text", 'l.model_type COLLATE "default"'),
        "status": Column("l.state", "text", 'l.state COLLATE "default"'),
        "create_time": Column("l.create_ms", "bigint"),
        "update_time": Column("l.update_ms", "bigint"),
    },
    ties=(("create_time", True), ("model_id", False)),
    values="tracking.logged_model_metrics",
    # The last one measured, whichever run and dataset it was by and on.
    value="(SELECT DISTINCT ON (tenant_id, experiment_id, key, model_id) * FROM tracking.logged_model_metrics"
    " ORDER BY tenant_id, experiment_id, key, model_id, time_ms DESC, step DESC, value DESC)",
)
