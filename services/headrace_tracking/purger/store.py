"""The purger's SQL, a function a statement; in the worker role, which row security does not hold."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from psycopg import sql

from headrace_tracking.writer.store import Connection, Run


class Experiment(NamedTuple):
    """Whose experiment."""

    tenant_id: str
    experiment_id: int


class Wanted(NamedTuple):
    """What of a tenant's bin is asked for."""

    tenant_id: str
    deleted_ms: int
    """Only what went there then or before."""
    run_ids: Sequence[UUID]
    """Only these, when there are any; the same is true of experiments."""
    experiment_ids: Sequence[int]


class Purge(NamedTuple):
    """A run that is gone, and whose metrics are going."""

    run: Run
    last: bool
    """Nobody who saw the run can still be writing to it."""


_TABLES: Final = (
    # At most so many rows go in a step, a tenth of a second's work: of chunks some 40 MB.
    ("metric_chunks", 500),
    ("metric_latest", 5_000),
    ("ingest_producers", 5_000),
    ("ingest_parked", 100),
)


def due_runs(conn: Connection, deleted_ms: int, most: int) -> list[Run]:
    """Runs that went into the bin by themselves, then or before; of all tenants."""
    rows = conn.execute(
        "SELECT tenant_id, run_id FROM tracking.runs WHERE delete_ms <= %(deleted)s ORDER BY delete_ms LIMIT %(most)s",
        {"deleted": deleted_ms, "most": most},
    )
    return [Run(*row) for row in rows]


def due_experiments(conn: Connection, deleted_ms: int, most: int) -> list[Experiment]:
    """Experiments that went into the bin then or before; of all tenants."""
    rows = conn.execute(
        "SELECT tenant_id, experiment_id FROM tracking.experiments WHERE delete_ms <= %(deleted)s"
        " ORDER BY delete_ms LIMIT %(most)s",
        {"deleted": deleted_ms, "most": most},
    )
    return [Experiment(*row) for row in rows]


def runs_of(conn: Connection, experiment: Experiment, most: int) -> list[Run]:
    """Some runs of an experiment."""
    rows = conn.execute(
        "SELECT tenant_id, run_id FROM tracking.runs WHERE tenant_id = %(tenant)s AND experiment_id = %(id)s"
        " LIMIT %(most)s",
        {"tenant": experiment.tenant_id, "id": experiment.experiment_id, "most": most},
    )
    return [Run(*row) for row in rows]


def wanted_runs(conn: Connection, wanted: Wanted, after: UUID | None, most: int) -> list[tuple[UUID, int]]:
    """Id and experiment of runs in the bin that are asked for, by id, behind this one."""
    return conn.execute(
        "SELECT r.run_id, r.experiment_id FROM tracking.runs r"
        " JOIN tracking.experiments e USING (tenant_id, experiment_id)"
        " WHERE r.tenant_id = %(tenant_id)s AND (r.delete_ms <= %(deleted_ms)s OR e.delete_ms <= %(deleted_ms)s)"
        " AND (%(run_ids)s::uuid[] = '{}' OR r.run_id = ANY(%(run_ids)s))"
        " AND (%(experiment_ids)s::bigint[] = '{}' OR r.experiment_id = ANY(%(experiment_ids)s))"
        " AND (%(after)s::uuid IS NULL OR r.run_id > %(after)s) ORDER BY r.run_id LIMIT %(most)s",
        {**_lists(wanted), "after": after, "most": most},
    ).fetchall()


def wanted_experiments(conn: Connection, wanted: Wanted) -> list[Experiment]:
    """Experiments in the bin that are asked for."""
    rows = conn.execute(
        "SELECT tenant_id, experiment_id FROM tracking.experiments"
        " WHERE tenant_id = %(tenant_id)s AND delete_ms <= %(deleted_ms)s"
        " AND (%(experiment_ids)s::bigint[] = '{}' OR experiment_id = ANY(%(experiment_ids)s)) ORDER BY experiment_id",
        _lists(wanted),
    )
    return [Experiment(*row) for row in rows]


def whereabouts(conn: Connection, tenant_id: str, run_ids: Sequence[UUID]) -> dict[UUID, bool]:
    """Of those of the runs that are there or were purged: whether they are in the bin, or were."""
    rows = conn.execute(
        "SELECT r.run_id, coalesce(r.delete_ms, e.delete_ms) IS NOT NULL FROM tracking.runs r"
        " JOIN tracking.experiments e USING (tenant_id, experiment_id)"
        " WHERE r.tenant_id = %(tenant)s AND r.run_id = ANY(%(runs)s)"
        " UNION ALL SELECT run_id, true FROM tracking.purges WHERE tenant_id = %(tenant)s AND run_id = ANY(%(runs)s)",
        {"tenant": tenant_id, "runs": list(run_ids)},
    ).fetchall()
    return dict(rows)


def sizes_of(conn: Connection, tenant_id: str, run_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    """Points and bytes, of those of the runs that have any."""
    rows = conn.execute(
        "SELECT c.run_id, sum(c.points), coalesce(sum(octet_length(c.data)), 0)"
        " + coalesce((SELECT a.size_bytes FROM tracking.metric_archives a"
        " WHERE a.tenant_id = %(tenant)s AND a.run_id = c.run_id), 0)"
        " FROM tracking.metric_chunks c WHERE c.tenant_id = %(tenant)s AND c.run_id = ANY(%(runs)s) GROUP BY c.run_id",
        {"tenant": tenant_id, "runs": list(run_ids)},
    )
    return {run_id: (int(points), int(size)) for run_id, points, size in rows}


def lock_run(conn: Connection, run: Run, deleted_ms: int) -> int | None:
    """The experiment of a run that went into the bin then or before, and stays there until the transaction ends.

    None for any other, and for one that somebody has in hand: this never waits.
    """
    row = conn.execute(
        "SELECT r.experiment_id FROM tracking.runs r JOIN tracking.experiments e USING (tenant_id, experiment_id)"
        " WHERE r.tenant_id = %(tenant)s AND r.run_id = %(run)s"
        " AND (r.delete_ms <= %(deleted)s OR e.delete_ms <= %(deleted)s)"
        " FOR UPDATE OF r SKIP LOCKED FOR SHARE OF e SKIP LOCKED",
        {"tenant": run.tenant_id, "run": run.run_id, "deleted": deleted_ms},
    ).fetchone()
    return row[0] if row else None


def delete_run(conn: Connection, run: Run) -> None:
    """The row that makes a run one; nothing may refer to it."""
    conn.execute("DELETE FROM tracking.runs WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s", run._asdict())


def delete_inputs(conn: Connection, run: Run) -> list[tuple[int, str, str]]:
    """The datasets that the run used: experiment, name, digest."""
    return conn.execute(
        "DELETE FROM tracking.run_inputs WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s"
        " RETURNING experiment_id, name, digest",
        run._asdict(),
    ).fetchall()


def lock_datasets(conn: Connection, tenant_id: str, keys: Sequence[tuple[int, str, str]]) -> None:
    """No run begins to use these until the transaction ends; waits for those that just do so.

    In one order everywhere, so that nobody waits for each other.
    """
    conn.execute(
        "SELECT FROM tracking.datasets d JOIN unnest(%(experiments)s::bigint[], %(names)s::text[], %(digests)s::text[])"
        " AS k(experiment_id, name, digest) USING (experiment_id, name, digest)"
        " WHERE d.tenant_id = %(tenant)s ORDER BY d.experiment_id, d.name, d.digest FOR UPDATE OF d",
        _datasets(tenant_id, keys),
    )


def delete_unused_datasets(conn: Connection, tenant_id: str, keys: Sequence[tuple[int, str, str]]) -> None:
    """Of these datasets, which are locked, those that no run uses any more."""
    conn.execute(
        "DELETE FROM tracking.datasets d"
        " USING unnest(%(experiments)s::bigint[], %(names)s::text[], %(digests)s::text[])"
        " AS k(experiment_id, name, digest) WHERE d.tenant_id = %(tenant)s AND d.experiment_id = k.experiment_id"
        " AND d.name = k.name AND d.digest = k.digest AND NOT EXISTS (SELECT FROM tracking.run_inputs i"
        " WHERE i.tenant_id = %(tenant)s AND i.experiment_id = d.experiment_id AND i.name = d.name"
        " AND i.digest = d.digest)",
        _datasets(tenant_id, keys),
    )


def delete_models_of_run(conn: Connection, run: Run) -> list[UUID]:
    """The ids of the run's logged models."""
    rows = conn.execute(
        "DELETE FROM tracking.logged_models WHERE tenant_id = %(tenant_id)s AND run_id = %(run_id)s RETURNING model_id",
        run._asdict(),
    )
    return [model_id for (model_id,) in rows]


def add_purge(conn: Connection, run: Run) -> None:
    """The run is gone; its metrics are to go."""
    conn.execute(
        "INSERT INTO tracking.purges (tenant_id, run_id) VALUES (%(tenant_id)s, %(run_id)s)"
        " ON CONFLICT (tenant_id, run_id) DO UPDATE SET due_time = now(), horizon = NULL, done_time = NULL",
        run._asdict(),
    )


def lock_experiment(conn: Connection, experiment: Experiment, deleted_ms: int) -> bool:
    """Whether it went into the bin then or before, and stays there until the transaction ends; never waits."""
    row = conn.execute(
        "SELECT FROM tracking.experiments WHERE tenant_id = %(tenant_id)s AND experiment_id = %(experiment_id)s"
        " AND delete_ms <= %(deleted)s FOR UPDATE SKIP LOCKED",
        {**experiment._asdict(), "deleted": deleted_ms},
    ).fetchone()
    return row is not None


def delete_models_of(conn: Connection, experiment: Experiment) -> list[UUID]:
    """The ids of all logged models of an experiment."""
    rows = conn.execute(
        "DELETE FROM tracking.logged_models WHERE tenant_id = %(tenant_id)s AND experiment_id = %(experiment_id)s"
        " RETURNING model_id",
        experiment._asdict(),
    )
    return [model_id for (model_id,) in rows]


def delete_datasets_of(conn: Connection, experiment: Experiment) -> None:
    """All datasets of an experiment that has no runs."""
    conn.execute(
        "DELETE FROM tracking.datasets WHERE tenant_id = %(tenant_id)s AND experiment_id = %(experiment_id)s",
        experiment._asdict(),
    )


def delete_experiment(conn: Connection, experiment: Experiment) -> None:
    """Its row; nothing may refer to it."""
    conn.execute(
        "DELETE FROM tracking.experiments WHERE tenant_id = %(tenant_id)s AND experiment_id = %(experiment_id)s",
        experiment._asdict(),
    )


def claim(conn: Connection, most: int) -> list[Purge]:
    """Runs that are gone and whose metrics are not, those that waited longest first; others keep off them until the
    transaction ends.
    """
    rows = conn.execute(
        "SELECT tenant_id, run_id, coalesce(horizon <= pg_snapshot_xmin(pg_current_snapshot()), false)"
        " FROM tracking.purges WHERE done_time IS NULL AND due_time <= now()"
        " ORDER BY due_time LIMIT %(most)s FOR UPDATE SKIP LOCKED",
        {"most": most},
    )
    return [Purge(Run(tenant_id, run_id), last) for tenant_id, run_id, last in rows]


def set_horizon(conn: Connection, runs: Collection[Run]) -> None:
    """Whoever saw one of these runs, and has a transaction, has one of a lower number than this."""
    conn.execute(
        "UPDATE tracking.purges p SET horizon = pg_current_xact_id()"
        " FROM unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
        " WHERE p.tenant_id = w.tenant_id AND p.run_id = w.run_id AND p.horizon IS NULL",
        _names(runs),
    )


def delete_some(conn: Connection, runs: Collection[Run]) -> int:
    """Deletes some rows of these runs; how many. Passes over those that somebody has in hand: this never waits."""
    return sum(conn.execute(_delete_from(table), {**_names(runs), "most": most}).rowcount for table, most in _TABLES)


def _delete_from(table: str) -> sql.Composed:
    return sql.SQL(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY("
        " SELECT t.ctid FROM {table} t JOIN unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
        " ON t.tenant_id = w.tenant_id AND t.run_id = w.run_id LIMIT %(most)s FOR UPDATE OF t SKIP LOCKED))"
    ).format(table=sql.Identifier("tracking", table))


def loosen_archives(conn: Connection, runs: Collection[Run], due_in_s: float) -> int:
    """Gives the archives of these runs to the archivers, to be deleted so much later; how many."""
    return conn.execute(
        "WITH gone AS (DELETE FROM tracking.metric_archives a"
        " USING unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
        " WHERE a.tenant_id = w.tenant_id AND a.run_id = w.run_id RETURNING a.tenant_id, a.archive_id)"
        " INSERT INTO tracking.loose_archives (tenant_id, archive_id, writing, due_time)"
        " SELECT tenant_id, archive_id, false, now() + make_interval(secs => %(due)s) FROM gone",
        {**_names(runs), "due": due_in_s},
    ).rowcount


def clean(conn: Connection, runs: Collection[Run]) -> list[Run]:
    """Those of the runs that nothing is left of."""
    tables = [table for table, _ in _TABLES] + ["metric_archives"]
    rows = conn.execute(
        sql.SQL(
            "SELECT w.tenant_id, w.run_id FROM unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
            " WHERE {}"
        ).format(
            sql.SQL(" AND ").join(
                sql.SQL("NOT EXISTS (SELECT FROM {} t WHERE t.tenant_id = w.tenant_id AND t.run_id = w.run_id)").format(
                    sql.Identifier("tracking", table)
                )
                for table in tables
            )
        ),
        _names(runs),
    )
    return [Run(*row) for row in rows]


def set_done(conn: Connection, runs: Collection[Run]) -> None:
    """Nothing is left of these."""
    conn.execute(
        "UPDATE tracking.purges p SET done_time = now()"
        " FROM unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
        " WHERE p.tenant_id = w.tenant_id AND p.run_id = w.run_id",
        _names(runs),
    )


def put_off(conn: Connection, runs: Collection[Run], seconds: float) -> None:
    """Others first; these again after so long."""
    conn.execute(
        "UPDATE tracking.purges p SET due_time = now() + make_interval(secs => %(seconds)s)"
        " FROM unnest(%(tenants)s::text[], %(runs)s::uuid[]) AS w (tenant_id, run_id)"
        " WHERE p.tenant_id = w.tenant_id AND p.run_id = w.run_id",
        {**_names(runs), "seconds": seconds},
    )


def forget_done(conn: Connection, after_s: float, most: int) -> int:
    """Forgets some runs that nothing was left of so long ago; how many."""
    return conn.execute(
        "DELETE FROM tracking.purges WHERE ctid = ANY(ARRAY(SELECT ctid FROM tracking.purges"
        " WHERE done_time < now() - make_interval(secs => %(after)s) LIMIT %(most)s FOR UPDATE SKIP LOCKED))",
        {"after": after_s, "most": most},
    ).rowcount


def _lists(wanted: Wanted) -> dict[str, object]:
    return {
        **wanted._asdict(),
        "run_ids": list(wanted.run_ids),
        "experiment_ids": list(wanted.experiment_ids),
    }


def _names(runs: Collection[Run]) -> dict[str, object]:
    return {"tenants": [run.tenant_id for run in runs], "runs": [run.run_id for run in runs]}


def _datasets(tenant_id: str, keys: Sequence[tuple[int, str, str]]) -> dict[str, object]:
    return {
        "tenant": tenant_id,
        "experiments": [key[0] for key in keys],
        "names": [key[1] for key in keys],
        "digests": [key[2] for key in keys],
    }
