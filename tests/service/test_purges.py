"""Purging: what was in the bin for long enough goes wholly, whatever happens at the same time, and nothing else does."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_archives import all_archived, archiver, end
from fix_purges import Connections, Producing, purger, rows_of, steps
from headrace_kit.blobs.files import FileBlobs
from headrace_tracking.archives import Archives
from headrace_tracking.merger.step import Merger
from headrace_tracking.purger.bin import purge_old, purge_run

RETENTION = 10
WHICH = st.integers(0, 3)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["log", "gap", "unary", "apply", "begin", "commit", "delete", "restore"]), WHICH),
        st.tuples(st.sampled_from(["delete_experiment", "restore_experiment"]), WHICH),
        st.tuples(st.sampled_from(["pass", "pass", "merge"]), WHICH),
        st.tuples(st.sampled_from(["purge", "purge", "step", "step", "crashing purge", "crashing step"]), WHICH),
    ),
    max_size=40,
)


class Bin:
    """Two tenants with an experiment and two runs each; what is done to them, and a model of what they are then."""

    def __init__(self, connections: Connections) -> None:
        self.conn = connections.look
        self.runs = connections.runs()
        self.purger = connections.purger
        self.merger = Merger(self.conn, fewest=2)
        self.now = 0
        self.run_deleted: dict[int, int] = {}
        self.experiment_deleted: dict[int, int] = {}
        self.purged: set[int] = set()

    def do(self, name: str, which: int) -> None:
        run, tenant = self.runs[which], which // 2
        if name in {"log", "gap", "unary"}:
            run.log(gap=name == "gap", unary=name == "unary")
        elif name == "apply" and run.open is None:
            run.apply()
        elif name == "begin":
            run.begin()
        elif name == "commit":
            run.commit()
        elif name == "pass":
            self.now += 2 + which * 2
        elif name == "merge":
            self.merger.step()
        elif name.endswith("purge"):
            self.purge(crashes="crashing" in name)
        elif name.endswith("step"):
            self.once(self.purger.step, self.purger._conn, crashes="crashing" in name)
        elif name in {"delete", "restore"}:
            self.bin(name, run, which, tenant)
        elif name == "delete_experiment":
            self.experiment_deleted.setdefault(tenant, self.now)
            self.set_experiment(run.run.tenant_id, self.experiment_deleted[tenant])
        elif name == "restore_experiment":
            self.experiment_deleted.pop(tenant, None)
            for other in (2 * tenant, 2 * tenant + 1):
                self.run_deleted.pop(other, None)
            self.set_experiment(run.run.tenant_id, None)
            self.conn.execute("UPDATE tracking.runs SET delete_ms = NULL WHERE tenant_id = %s", [run.run.tenant_id])

    def bin(self, name: str, run: Producing, which: int, tenant: int) -> None:
        if name == "delete":
            self.run_deleted.setdefault(which, self.now)
        elif tenant not in self.experiment_deleted:
            self.run_deleted.pop(which, None)
        self.conn.execute(
            "UPDATE tracking.runs SET delete_ms = %s WHERE run_id = %s", [self.run_deleted.get(which), run.run.run_id]
        )

    def set_experiment(self, tenant: str, delete_ms: int | None) -> None:
        self.conn.execute("UPDATE tracking.experiments SET delete_ms = %s WHERE tenant_id = %s", [delete_ms, tenant])

    def purge(self, *, crashes: bool) -> None:
        self.once(lambda: purge_old(self.conn, self.now - RETENTION), self.conn, crashes=crashes)
        if not crashes:
            since = [self.run_deleted, {2 * t + i: ms for t, ms in self.experiment_deleted.items() for i in (0, 1)}]
            self.purged |= {which for each in since for which, ms in each.items() if ms <= self.now - RETENTION}

    def once(self, work: Any, conn: psycopg.Connection[Any], *, crashes: bool) -> None:
        with conn.transaction(force_rollback=crashes):
            work()

    def settle(self) -> None:
        """Whoever stands still goes on, what is under way arrives, and all work is done."""
        for run in self.runs:
            run.commit()
            run.apply()
        steps(self.purger)
        while self.merger.step():
            pass

    def check(self) -> None:
        for which, run in enumerate(self.runs):
            rows = rows_of(self.conn, run.run.run_id)
            if which in self.purged:
                assert rows == {}
            else:
                assert rows["runs"] == 1
                assert run.everything() == sorted(run.logged)
            assert not run.letters.records


def test_no_interleaving_keeps_a_purged_run_or_loses_another(database: str) -> None:
    @settings(
        max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(operations=OPERATIONS)
    def holds(operations: Sequence[tuple[str, int]]) -> None:
        there = Bin(connections)
        try:
            for name, which in operations:
                there.do(name, which)
        finally:
            there.settle()
        there.check()

    with ExitStack() as stack:
        connections = Connections(database, stack)
        holds()


@contextmanager
def a_bin(dsn: str) -> Iterator[Bin]:
    with ExitStack() as stack:
        yield Bin(Connections(dsn, stack))


def test_a_writer_that_saw_the_run_and_stands_still_leaves_nothing(database: str) -> None:
    with a_bin(database) as there:
        mine, other = there.runs[0], there.runs[1]
        for run in (mine, other):
            run.log()
            run.begin()  # looked whether the run is there, wrote, and does not commit
        there.do("delete", 0)
        there.now = 100
        there.purge(crashes=False)
        for _ in range(5):
            assert there.purger.step()  # it is not done with, however often it looks
        mine.commit()
        assert rows_of(there.conn, mine.run.run_id).keys() >= {"metric_chunks", "ingest_producers"}
        there.settle()
        there.check()
        mine.log(gap=True)  # on the bus all the time
        mine.log(unary=True)
        there.settle()
        there.check()


def test_a_purge_that_is_killed_goes_on_in_another_process(database: str) -> None:
    with a_bin(database) as there:
        for _ in range(5):
            there.do("log", 0)
            there.do("apply", 0)
        there.do("delete", 0)
        there.now = 100
        there.purge(crashes=True)
        assert rows_of(there.conn, there.runs[0].run.run_id)["runs"] == 1
        there.purge(crashes=False)
        there.purger._conn.close()  # as kill -9 does
        with ExitStack() as stack:
            there.purger = purger(database, stack)
            there.settle()
        there.check()


def test_the_file_and_the_space_of_a_run_are_free_again(database: str, tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    blobs.check()
    archives = Archives(blobs)
    with a_bin(database) as there, ExitStack() as stack:
        worker = archiver(database, stack, blobs, archives)
        for which in (0, 1):
            there.do("log", which)
            there.do("apply", which)
            end(database, there.runs[which].run.run_id)
        all_archived(worker)
        there.conn.execute(  # much of it: 20 MB that do not compress
            "INSERT INTO tracking.metric_chunks (tenant_id, run_id, key, first_time_ms, first_step, last_time_ms,"
            " last_step, points, once_per_point, data) SELECT tenant_id, run_id, 'k' || n %% 7, n, 0, n, 0, 1, false,"
            " (SELECT string_agg(sha256((n * 1000 + i)::text::bytea), '') FROM generate_series(1, 320) i)"
            " FROM tracking.runs, generate_series(1, 2000) n WHERE run_id = %s",
            [there.runs[0].run.run_id],
        )
        before = size(there.conn)
        assert before > 20_000_000
        there.do("delete", 0)
        there.now = 100
        assert len(list(blobs.keys("metrics/"))) == 2
        there.purge(crashes=False)
        assert there.purger.step()
        left = rows_of(there.conn, there.runs[0].run.run_id)["metric_chunks"]
        assert 0 < left < 2001  # bounded
        there.settle()
        all_archived(worker)
        assert rows_of(there.conn, there.runs[0].run.run_id) == {}
        assert len(list(blobs.keys("metrics/"))) == 1  # of the other run
        assert there.conn.execute("SELECT count(*) FROM tracking.loose_archives").fetchone() == (0,)
        there.conn.execute("VACUUM tracking.metric_chunks")
        assert size(there.conn) < before / 10


def size(conn: psycopg.Connection[Any]) -> int:
    """Bytes that the points take, with indexes."""
    row = conn.execute("SELECT pg_total_relation_size('tracking.metric_chunks')").fetchone()
    assert row is not None
    return int(row[0])


def test_two_purgers_share_the_work_and_what_is_in_use_waits(database: str) -> None:
    with a_bin(database) as there, ExitStack() as stack:
        for which in (0, 2):
            there.do("log", which)
            there.do("apply", which)
            there.do("delete", which)
        there.now = 100
        run = there.runs[0].run
        with psycopg.connect(database) as somebody:
            somebody.execute("SELECT FROM tracking.runs WHERE run_id = %s FOR KEY SHARE", [run.run_id])
            assert not purge_run(there.conn, run, there.now)
        other = purger(database, stack)
        there.purge(crashes=False)
        with there.purger._conn.transaction():
            assert there.purger.step()
            assert not other.step()  # all are in the other's hands, and it does not wait
        steps(other)
        there.settle()
        there.check()


def test_what_was_purged_is_forgotten_when_nothing_late_can_come(database: str) -> None:
    with a_bin(database) as there, ExitStack() as stack:
        there.do("delete", 0)
        there.now = 100
        there.purge(crashes=False)
        steps(there.purger)
        assert there.conn.execute("SELECT count(*) FROM tracking.purges").fetchone() == (1,)
        steps(purger(database, stack, remembered_s=-1.0))
        assert there.conn.execute("SELECT count(*) FROM tracking.purges").fetchone() == (0,)
