"""Purges in tests: what is left of a run in any table, a writer that stands still, and a bin on a clock of the test's own."""

import time
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql

from fix_metrics import Letters, Point, frame, make_runs, pack, received, stored
from headrace_kit.bus import Partition
from headrace_kit.topics import FRAMES
from headrace_tracking.purger.step import Purger
from headrace_tracking.writer.applier import Applier, connect
from headrace_tracking.writer.letters import PoisonShare
from headrace_tracking.writer.store import Run

_KEPT: Final = "purges"


def rows_of(conn: psycopg.Connection[Any], run_id: uuid.UUID) -> dict[str, int]:
    """Table → rows of the run, where there are any; but for what says that it was purged."""
    tables = conn.execute(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'tracking' AND column_name = 'run_id' AND table_name <> %s",
        [_KEPT],
    ).fetchall()
    assert {"runs", "metric_chunks", "metric_archives", "ingest_parked"} <= {table for (table,) in tables}
    count = sql.SQL("SELECT count(*) FROM tracking.{} WHERE run_id = %s")
    found = {table: conn.execute(count.format(sql.Identifier(table)), [run_id]).fetchone() for (table,) in tables}
    return {table: row[0] for table, row in found.items() if row and row[0]}


def purger(dsn: str, stack: ExitStack, **times: float) -> Purger:
    """One that waits for nothing but other transactions."""
    conn = connect(dsn, durable=True)
    stack.callback(conn.close)
    return Purger(conn, **{"wait_s": 0.0, "unused_s": 0.0, **times})


def steps(purger: Purger) -> None:
    """Until there is nothing to do. Waits for transactions of the whole server, autovacuum's among them."""
    deadline = time.monotonic() + 30
    while purger.step():
        assert time.monotonic() < deadline, "there is always something to do"
        time.sleep(0.001)


@dataclass
class Producing:
    """A run, and its producer behind a writer of its own: a frame may be sent late, doubled, or too early."""

    conn: psycopg.Connection[Any]
    """Of its writer."""
    partition: int
    run: Run
    logged: list[Point] = field(default_factory=list)
    held: list[tuple[bytes, int]] = field(default_factory=list)
    """Records that the bus has, and no writer yet; with how many points are behind them."""

    def __post_init__(self) -> None:
        self.producer_id = uuid.uuid4().bytes
        self.letters = Letters()
        self.open: Any = None
        self.applier = Applier(self.conn, self.letters, PoisonShare(), chance=lambda: 0.0)
        self.offset = self.applier.take([Partition(FRAMES.name, self.partition)])[
            Partition(FRAMES.name, self.partition)
        ]
        self.seq = 0

    def log(self, *, gap: bool = False, unary: bool = False) -> None:
        """A frame with a point goes to the bus; with `gap` before the one that it follows, which comes next."""
        if unary:
            self._send([0], b"")
        elif gap:
            self._send([self.seq + 2, self.seq + 1], self.producer_id)
            self.seq += 2
        else:
            self._send([self.seq + 1], self.producer_id)
            self.seq += 1

    def _send(self, seqs: list[int], producer_id: bytes) -> None:
        for seq in seqs:
            point = (len(self.logged), 1, float(len(self.logged)))
            self.logged.append(point)
            self.held.append(
                (pack(*self.run, producer_id, [frame(seq, {"loss": [point]})]).SerializeToString(), len(self.logged))
            )

    def apply(self, most: int = 100) -> None:
        """The writer takes what the bus has."""
        taken, self.held = self.held[:most], self.held[most:]
        records = [received(value, self.offset + at, self.partition) for at, (value, _) in enumerate(taken)]
        self.offset += len(records)
        self.applier.apply(records)

    def begin(self) -> None:
        """The writer applies a frame and stands still before it commits."""
        if self.open is None and self.held:
            self.open = self.conn.transaction()
            self.open.__enter__()
            self.apply(1)

    def commit(self) -> None:
        """It goes on."""
        if self.open is not None:
            self.open.__exit__(None, None, None)
            self.open = None

    def everything(self) -> list[Point]:
        """What is visible of the run."""
        return sorted(stored(self.conn, self.run.tenant_id).get((self.run.run_id, "loss"), []))


class Connections:
    """Two tenants' writers, a purger, and one to look with."""

    def __init__(self, dsn: str, stack: ExitStack) -> None:
        self.dsn = dsn
        self.writers = [stack.enter_context(closing(connect(dsn))) for _ in range(4)]
        self.look = stack.enter_context(closing(connect(dsn, durable=True)))
        self.purger = purger(dsn, stack)

    def runs(self) -> list[Producing]:
        """Two new runs of each of two new tenants, in experiment 1."""
        made: list[Producing] = []
        for tenant in (uuid.uuid4().hex, uuid.uuid4().hex):
            ids = [uuid.uuid4(), uuid.uuid4()]
            make_runs(self.dsn, tenant, ids, experiment_id=1)
            for run_id in ids:
                made.append(Producing(self.writers[len(made)], len(made), Run(tenant, run_id)))
        return made
