"""Runs that get the same points in different ways, and somebody who pages through them: nobody may see a difference."""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import psycopg

from fix_metrics import Letters, Point, frame, make_runs, pack, received
from headrace.api.tracking.v1 import tracking_service_pb2
from headrace_kit.bus import Partition
from headrace_kit.topics import FRAMES
from headrace_tracking import history
from headrace_tracking.archives import Archives, Part, Unread
from headrace_tracking.charts import reading
from headrace_tracking.charts.asked import asked_charts
from headrace_tracking.columns import Columns
from headrace_tracking.writer.applier import Applier, connect
from headrace_tracking.writer.letters import PoisonShare

T = TypeVar("T")
_numbers = itertools.count(1)


class Twin:
    """A run, its writer, and somebody who pages through its points."""

    def __init__(self, dsn: str, stack: ExitStack, reader: "Reader", *, noted: bool) -> None:
        """`noted`: whether the merger hears of its small chunks."""
        self.run_id, self.producer_id, self.tenant = uuid.uuid4(), uuid.uuid4().bytes, uuid.uuid4().hex
        make_runs(dsn, self.tenant, [self.run_id])
        conn = connect(dsn)
        stack.callback(conn.close)
        self.applier = Applier(
            conn, Letters(), PoisonShare(), chance=lambda: 0.0 if noted else 1.0, archives=reader.archives
        )
        self.partition = next(_numbers)
        self.applier.take([Partition(FRAMES.name, self.partition)])
        self.offset, self.seq, self.token, self.reader = 0, 0, "", reader

    def write(self, points: Sequence[Point], *, unary: bool = False, key: str = "loss") -> None:
        self.seq += not unary
        value = pack(self.tenant, self.run_id, b"" if unary else self.producer_id, [frame(self.seq, {key: points})])
        self.applier.apply([received(value.SerializeToString(), self.offset, self.partition)])
        self.offset += 1

    def page(self, size: int, key: str = "loss") -> list[str]:
        """The next one, texts that tell NaN and -0.0 apart; after the last the first again."""
        request = tracking_service_pb2.GetMetricHistoryRequest(key=key, page_size=size, page_token=self.token)
        answer = self.reader.read(self.run_id, request)
        self.token = answer.next_page_token
        return [str(point) for point in zip(answer.time_ms, answer.steps, answer.values, strict=True)]

    def everything(self, size: int = 3, key: str = "loss") -> list[str]:
        self.token = ""
        found = self.page(size, key)
        while self.token:
            found += self.page(size, key)
        return found


class Reader:
    """Reads pages and charts, each in a transaction."""

    def __init__(self, dsn: str, stack: ExitStack, archives: Archives | None = None) -> None:
        self.archives = archives or Archives(None)
        self.loop = stack.enter_context(asyncio.Runner())
        self.conn = self.loop.run(psycopg.AsyncConnection.connect(dsn, autocommit=True))
        stack.callback(lambda: self.loop.run(self.conn.close()))

    def read(self, run_id: uuid.UUID, request: Any) -> Any:
        held: dict[Part, Columns] = {}

        async def page() -> Any:
            async with self.conn.transaction():
                return await history.read_page(self.conn, run_id, request, held)

        return self._reading(page, held)

    def charts(
        self, request: tracking_service_pb2.GetMetricChartsRequest
    ) -> tracking_service_pb2.GetMetricChartsResponse:
        held: dict[Part, Columns] = {}

        async def answer() -> tracking_service_pb2.GetMetricChartsResponse:
            async with self.conn.transaction():
                return await reading.read(self.conn, asked_charts(request), held)

        return self._reading(answer, held)

    def _reading(self, read: Callable[[], Coroutine[Any, Any, T]], held: dict[Part, Columns]) -> T:
        """What it returns, once it has all of archives that it needs."""
        while True:
            try:
                return self.loop.run(read())
            except Unread as unread:
                held |= self.archives.read(unread.parts)
