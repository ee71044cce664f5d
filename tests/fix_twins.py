"""A run with a writer of its own, and somebody who pages through its points: for comparing two that were treated otherwise."""

import asyncio
import itertools
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import psycopg

from fix_metrics import Letters, Point, frame, make_runs, pack, received
from headrace.api.tracking.v1 import tracking_service_pb2
from headrace_kit.bus import Partition
from headrace_kit.topics import FRAMES
from headrace_tracking import history
from headrace_tracking.charts import reading
from headrace_tracking.charts.asked import asked_charts
from headrace_tracking.writer.applier import Applier, connect
from headrace_tracking.writer.letters import PoisonShare

_numbers = itertools.count(1)


class Twin:
    """A run, its writer, and somebody who pages through its points."""

    def __init__(self, dsn: str, stack: ExitStack, reader: "Reader", *, noted: bool) -> None:
        self.run_id, self.producer_id, self.tenant = uuid.uuid4(), uuid.uuid4().bytes, uuid.uuid4().hex
        make_runs(dsn, self.tenant, [self.run_id])
        conn = connect(dsn)
        stack.callback(conn.close)
        self.applier = Applier(conn, Letters(), PoisonShare(), chance=lambda: 0.0 if noted else 1.0)
        self.partition = next(_numbers)
        self.applier.take([Partition(FRAMES.name, self.partition)])
        self.offset, self.seq, self.token, self.reader = 0, 0, "", reader

    def write(self, points: Sequence[Point], *, unary: bool = False) -> None:
        self.seq += not unary
        value = pack(self.tenant, self.run_id, b"" if unary else self.producer_id, [frame(self.seq, {"loss": points})])
        self.applier.apply([received(value.SerializeToString(), self.offset, self.partition)])
        self.offset += 1

    def page(self, size: int) -> list[str]:
        """The next one, texts that tell NaN and -0.0 apart; after the last the first again."""
        request = tracking_service_pb2.GetMetricHistoryRequest(key="loss", page_size=size, page_token=self.token)
        answer = self.reader.read(self.run_id, request)
        self.token = answer.next_page_token
        return [str(point) for point in zip(answer.time_ms, answer.steps, answer.values, strict=True)]

    def everything(self, size: int = 3) -> list[str]:
        self.token = ""
        found = self.page(size)
        while self.token:
            found += self.page(size)
        return found


class Reader:
    """Reads pages and charts, each in a transaction."""

    def __init__(self, dsn: str, stack: ExitStack) -> None:
        self.loop = stack.enter_context(asyncio.Runner())
        self.conn = self.loop.run(psycopg.AsyncConnection.connect(dsn, autocommit=True))
        stack.callback(lambda: self.loop.run(self.conn.close()))

    def read(self, run_id: uuid.UUID, request: Any) -> Any:
        async def page() -> Any:
            async with self.conn.transaction():
                return await history.read_page(self.conn, run_id, request)

        return self.loop.run(page())

    def charts(
        self, request: tracking_service_pb2.GetMetricChartsRequest
    ) -> tracking_service_pb2.GetMetricChartsResponse:
        async def answer() -> tracking_service_pb2.GetMetricChartsResponse:
            async with self.conn.transaction():
                return await reading.read(self.conn, asked_charts(request))

        return self.loop.run(answer())
