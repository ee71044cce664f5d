"""Many finished runs, written straight into the tables of Headrace and of MLflow: by their APIs it would take hours.

Both get the same runs: 10 params, 10 metrics with one point each, a name. What is drawn at random is drawn by a hash of the
run's number, so that each database draws the same.
"""

import time

import psycopg

import headrace as hr
from rig.servers import Headrace, PeerServer

# A number from 0 to 1 for run i and field k, the same in every database.
_DRAW = "((hashint8extended(i * 64 + {k}, 7) & 1048575) / 1048575.0)"
_PARAMS = {
    "model": f"'m' || floor({_DRAW.format(k=0)} * 10)",
    "optimizer": f"'o' || floor({_DRAW.format(k=1)} * 5)",
    "batch_size": f"(16 << ({_DRAW.format(k=2)} * 5)::int)::text",
    **{f"p{k}": f"round({_DRAW.format(k=k)}::numeric, 4)::text" for k in range(3, 10)},
}
_METRICS = {
    "accuracy": _DRAW.format(k=20),
    "loss": _DRAW.format(k=21),
    **{f"m{k}": _DRAW.format(k=20 + k) for k in range(2, 10)},
}
_START_MS = 1_700_000_000_000


def load_headrace(server: Headrace, experiment: str, count: int) -> float:
    """So many runs in an experiment that is made; the seconds it took."""
    began = time.monotonic()
    with hr.Client(server.uri) as client:
        number = int(client.get_or_create_experiment(experiment).id)
    params = ", ".join(f"'{key}', {value}" for key, value in _PARAMS.items())
    metrics = ", ".join(f"('{key}', {value})" for key, value in _METRICS.items())
    run_id = f"md5('{experiment} ' || i)::uuid"
    _run(
        server.database,
        f"INSERT INTO tracking.runs (tenant_id, run_id, experiment_id, user_id, state, start_ms, end_ms, params, tags)"
        f" SELECT 'default', {run_id}, {number}, 'bench', 'FINISHED', {_START_MS} + i * 1000, {_START_MS} + i * 1000 + 500,"
        f" jsonb_build_object({params}), jsonb_build_object('mlflow.runName', 'run-' || i)"
        f" FROM generate_series(1, {count}) AS i",
        f"INSERT INTO tracking.metric_latest"
        f" (tenant_id, run_id, experiment_id, key, value, step, time_ms, has_extremes, least, greatest)"
        f" SELECT 'default', {run_id}, {number}, m.key, m.value, 0, {_START_MS} + i * 1000, true, m.value, m.value"
        f" FROM generate_series(1, {count}) AS i, LATERAL (VALUES {metrics}) AS m (key, value)",
        "VACUUM ANALYZE tracking.runs",
        "VACUUM ANALYZE tracking.metric_latest",
    )
    return time.monotonic() - began


def load_mlflow(server: PeerServer, count: int, experiment_id: str = "0") -> float:
    """So many runs in an experiment that has none of them; the seconds it took."""
    began = time.monotonic()
    params = ", ".join(f"('{key}', {value})" for key, value in _PARAMS.items())
    metrics = ", ".join(f"('{key}', {value})" for key, value in _METRICS.items())
    number = int(experiment_id)
    run_id = f"md5('mlflow {number} ' || i)"
    _run(
        server.database,
        f"INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage,"
        f" artifact_uri, experiment_id, source_name, entry_point_name, source_version)"
        f" SELECT {run_id}, 'run-' || i, 'LOCAL', 'bench', 'FINISHED', {_START_MS} + i * 1000, {_START_MS} + i * 1000 + 500,"
        f" 'active', 'mlflow-artifacts:/{number}', {number}, '', '', '' FROM generate_series(1, {count}) AS i",
        f"INSERT INTO tags (key, value, run_uuid) SELECT 'mlflow.runName', 'run-' || i, {run_id}"
        f" FROM generate_series(1, {count}) AS i",
        f"INSERT INTO params (key, value, run_uuid) SELECT p.key, p.value, {run_id}"
        f" FROM generate_series(1, {count}) AS i, LATERAL (VALUES {params}) AS p (key, value)",
        f"INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
        f" SELECT m.key, m.value, {_START_MS} + i * 1000, 0, false, {run_id}"
        f" FROM generate_series(1, {count}) AS i, LATERAL (VALUES {metrics}) AS m (key, value)",
        *(f"VACUUM ANALYZE {table}" for table in ("runs", "tags", "params", "latest_metrics")),
    )
    return time.monotonic() - began


def searches(count: int) -> list[dict[str, str]]:
    """Filters of two params and a range of a metric, ordered by another metric: 0.2 to 1.6 % of all runs match."""
    found: list[dict[str, str]] = []
    for number in range(count):
        least = 0.2 + 0.7 * ((number * 37) % 100) / 100
        params = f"params.model = 'm{number % 10}' AND params.optimizer = 'o{number // 10 % 5}'"
        found.append({"filter": f"{params} AND metrics.accuracy > {least:.3f}", "order": "metrics.loss ASC"})
    return found


def _run(database: str, *statements: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())
