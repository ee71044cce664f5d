"""Bytes that a stored point takes, with indexes."""

import psycopg

from rig.figures import Beside, Figure
from rig.lab import Lab
from rig.processes import Program
from rig.rates import mlflow_round
from rig.servers import Headrace

KEY = "train/loss"
POINTS = 1_000_000
_MLFLOW_POINTS = 100_000
_GOALS = {"noise": (10.0, 9.0), "smooth": (5.0, 3.5), "constant": (1.5, 0.5)}
_SAID = {"noise": "noise", "smooth": "a smooth loss", "constant": "a constant"}


def measure(lab: Lab) -> list[Figure]:
    """A figure a kind of series."""
    points = lab.scale.of(POINTS)
    lab.headrace.settle(300)  # what other rows left to be merged would be counted here
    _pack(lab.headrace)
    beside = _mlflow(lab)
    figures: list[Figure] = []
    for kind, (floor, aim) in _GOALS.items():
        before = _size(lab.headrace)
        write(lab, kind, points)
        lab.headrace.settle()
        grown = _size(lab.headrace) - before
        _pack(lab.headrace)
        packed = _size(lab.headrace) - before
        figures.append(
            Figure(
                f"stored, {_SAID[kind]}",
                "bytes a point",
                [grown / points],
                floor,
                aim,
                more_is_better=False,
                beside=beside,
                note=f"one series of {points:,} points, a step every 50 ms give or take 2; by which the table, its TOAST and"
                f" indexes grew, merging done; {packed / points:.2f} after VACUUM FULL",
            )
        )
    return figures


def write(lab: Lab, kind: str, points: int) -> str:
    """Logs such a series, until it is visible; the run."""
    with Program("series", uri=lab.headrace.uri, kind=kind, points=points, key=KEY) as program:
        return str(program.read()["runs"][0])


def _mlflow(lab: Lab) -> list[Beside]:
    server = lab.mlflow
    if server is None:
        return []
    sql = "SELECT pg_total_relation_size('metrics') + pg_total_relation_size('latest_metrics')"
    with psycopg.connect(server.database, autocommit=True) as conn:
        before = _number(conn, sql)
        done = mlflow_round(server, seconds=120, points=lab.scale.of(_MLFLOW_POINTS) // 4)
        grown = _number(conn, sql) - before
    note = f"its tables metrics and latest_metrics, {done.points:,} points of noise"
    return [Beside("MLflow", [grown / done.points], 20, note)]


def _size(server: Headrace) -> int:
    with psycopg.connect(server.database, autocommit=True) as conn:
        return _number(conn, "SELECT pg_total_relation_size('tracking.metric_chunks')")


def _pack(server: Headrace) -> None:
    """So that what comes next finds no free space, and adds what it takes."""
    with psycopg.connect(server.database, autocommit=True) as conn:
        conn.execute("VACUUM FULL tracking.metric_chunks")


def _number(conn: psycopg.Connection, sql: str) -> int:
    row = conn.execute(sql).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])
