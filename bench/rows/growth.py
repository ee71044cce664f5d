"""The rate with many stored points against that with none. Part of `--long`: it writes gigabytes."""

import psycopg
from psycopg import sql

from rig.figures import Beside, Figure
from rig.lab import Lab
from rig.rates import headrace_round
from rig.servers import Headrace

_STORED = 200_000_000
_STEPS = 150_000


def measure(lab: Lab) -> list[Figure]:
    """Empty, full, empty again, each for some rounds."""
    _clear(lab.headrace)
    empty = _rates(lab)
    copies = _fill(lab.headrace, lab.scale.of(_STORED))
    full = _rates(lab)
    _clear(lab.headrace)
    empty += _rates(lab)
    return [
        Figure(
            f"4 clients, with {lab.scale.of(_STORED) / 1e6:,.0f} M points stored",
            "points/s",
            full,
            beside=[Beside("with none stored", empty, 0.9)],
            note=f"the stored ones are {copies} copies of the rounds before, made by SQL as chunks of other runs",
        )
    ]


def _rates(lab: Lab) -> list[float]:
    rounds = [headrace_round(lab.headrace, steps=lab.scale.of(_STEPS)) for _ in range(lab.scale.rounds + 1)]
    return [each.rate for each in rounds[1:]]  # the first warms up


def _clear(server: Headrace) -> None:
    with psycopg.connect(server.database, autocommit=True) as conn:
        conn.execute("TRUNCATE tracking.metric_chunks, tracking.metric_merges")


def _fill(server: Headrace, points: int) -> int:
    """Copies what is there, run by run under new ids, until there are so many points."""
    with psycopg.connect(server.database, autocommit=True) as conn:
        names = conn.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'tracking'"
            " AND table_name = 'metric_chunks' AND is_identity = 'NO' AND is_generated = 'NEVER'"
        ).fetchall()
        row = conn.execute("SELECT sum(points) FROM tracking.metric_chunks").fetchone()
        stored = int(row[0]) if row else 0
        columns = [sql.Identifier(name) for (name,) in names]
        values = [
            sql.SQL("md5(run_id || %(copy)s)::uuid") if name == "run_id" else sql.Identifier(name) for (name,) in names
        ]
        conn.execute("CREATE TABLE tracking.bench_source AS SELECT * FROM tracking.metric_chunks")
        statement = sql.SQL("INSERT INTO tracking.metric_chunks ({}) SELECT {} FROM tracking.bench_source").format(
            sql.SQL(", ").join(columns), sql.SQL(", ").join(values)
        )
        copies = max(1, points // stored)
        for number in range(copies):
            conn.execute(statement, {"copy": f" {number}"})
        conn.execute("DROP TABLE tracking.bench_source")
        conn.execute("VACUUM ANALYZE tracking.metric_chunks")
        conn.execute("CHECKPOINT")
    return copies
