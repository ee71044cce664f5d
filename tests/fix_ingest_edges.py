"""A state machine of the whole metric path: clients' outboxes, edges and writers are real, and so is PostgreSQL.

Between them, edges and clients lose one another, acknowledgements are lost, the bus takes records late, unseen or never,
edges and clients crash, and the topic grows under edges that do not know it.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from typing_extensions import override

from fix_ingest_machine import POINTS, STREAMS, MakeApplier, MetricPath, Stream
from fix_metrics import Letters, frame
from headrace.api.common.v1.access_pb2 import Role
from headrace.api.tracking.v1 import ingest_service_pb2 as pb
from headrace.api.tracking.v1 import metrics_pb2
from headrace.ingest.outbox import Outbox
from headrace_kit import tenancy
from headrace_kit.bus import BusUnavailable, Partition, Record
from headrace_kit.db import Database
from headrace_kit.errors import DomainError
from headrace_tracking.ingest import IngestService
from headrace_tracking.packer import Packer

EDGES: Final = 2
T = TypeVar("T")


class Edges:
    """What edges of all examples share: an event loop, a pool of connections, the kind of packer."""

    def __init__(self, dsn: str, packer: type[Packer] = Packer) -> None:
        self.packer = packer
        self._db = Database(dsn, "tracking", connections=4, constraints={})
        self._loop = asyncio.Runner()

    def __enter__(self) -> Self:
        self.do(self._db.open())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._db.close())
        self._loop.close()

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(what)

    def edge(self, partitions: int) -> "Edge":
        """One that finds so many partitions when it starts."""
        under_way = UnderWay()
        return Edge(IngestService(self._db, self.packer(under_way, partitions, _died)), under_way)


def _died(error: BaseException) -> None:
    raise AssertionError from error


class UnderWay(Letters):
    """A bus's producer whose records are on their way until the machine says what became of them."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[int, deque[tuple[bytes, Future[tuple[Partition, int]]]]] = {}
        self.frames: set[tuple[bytes, int]] = set()

    @override
    def publish(self, record: Record) -> Future[tuple[Partition, int]]:
        future: Future[tuple[Partition, int]] = Future()
        assert record.partition is not None
        self.sent.setdefault(record.partition, deque()).append((record.value, future))
        for routed in metrics_pb2.FramePack.FromString(record.value).frames:
            self.frames.add((routed.producer_id, routed.frame.seq))
        return future


@dataclass
class Edge:
    """One process's ingest service."""

    service: IngestService
    under_way: UnderWay


class Connection:
    """A stream between a client and an edge, held by a task of its own."""

    def __init__(self, edge: Edge, tenant_id: str, stream: Stream) -> None:
        self.edge = edge
        self.answers: deque[pb.StreamMetricsResponse] = deque()
        self.requests: asyncio.Queue[pb.StreamMetricsRequest] = asyncio.Queue()
        self._stream = stream
        self._task = asyncio.create_task(self._hold(tenant_id))
        self.requests.put_nowait(
            pb.StreamMetricsRequest(open=pb.OpenStream(run_id=stream.run_id.hex, producer_id=stream.producer_id))
        )

    @property
    def open(self) -> bool:
        return not self._task.done()

    async def _hold(self, tenant_id: str) -> None:
        tenancy.set_caller(tenancy.Caller(tenant_id, Role.ROLE_EDITOR))
        with suppress(DomainError):
            answers = self.edge.service.StreamMetrics(self._requests(), cast("Any", None))
            async for answer in cast("AsyncIterator[pb.StreamMetricsResponse]", answers):
                if answer.HasField("ack"):  # a promise from here on, whether it arrives or not
                    self._stream.acknowledged = max(self._stream.acknowledged, answer.ack.seq)
                self.answers.append(answer)

    async def _requests(self) -> AsyncIterator[pb.StreamMetricsRequest]:
        while True:
            yield await self.requests.get()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Or until it has ended."""
        while self.open and not happened():  # noqa: ASYNC110 - hands the loop on until it has nothing left to do
            await asyncio.sleep(0)

    async def cut(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


def _load(seq: int) -> Any:
    raise AssertionError(f"frame {seq} was never moved out of memory")


@dataclass
class Client:
    """A training process: its stream, and its connection while it has one."""

    stream: Stream
    outbox: Outbox = field(default_factory=lambda: Outbox(_load))
    connection: Connection | None = None

    def read(self) -> None:
        """Takes the answers that have arrived."""
        while self.connection is not None and self.connection.answers:
            answer = self.connection.answers.popleft()
            if answer.HasField("opened"):
                self.outbox.reopen(answer.opened.applied_seq, answer.opened.window_bytes)
            else:
                self.outbox.ack(answer.ack.seq)

    async def connect(self, edge: Edge, tenant_id: str) -> None:
        """To this edge, away from the one before; what that one still said is lost."""
        await self.leave()
        self.connection = connection = Connection(edge, tenant_id, self.stream)
        await connection.until(lambda: bool(connection.answers))
        self.read()

    async def leave(self) -> None:
        if self.connection is not None:
            await self.connection.cut()
            self.connection = None

    def put(self) -> list[tuple[bytes, int]]:
        """Sends what the window lets through; names of the frames."""
        sent: list[tuple[bytes, int]] = []
        while self.connection is not None and (one := self.outbox.next()) is not None:
            self.connection.requests.put_nowait(pb.StreamMetricsRequest(frame=one))
            sent.append((self.stream.producer_id, one.seq))
        return sent


class EdgesAndWriters(MetricPath):
    """The bus and the group are lists; what is acknowledged is what an edge said, not what the machine knows."""

    stream: Any = None  # its rule: here edges make the records
    log_metrics: Any = None

    def __init__(self, dsn: str, make: MakeApplier, edges: Edges) -> None:
        super().__init__(dsn, make)
        self.make_edges = edges
        self.gone: list[Stream] = []

    @initialize()
    @override
    def begin(self) -> None:
        super().begin()
        self.edges = [self.make_edges.edge(len(self.partitions)) for _ in range(EDGES)]
        self.clients = [Client(stream) for stream in self.streams]

    @override
    def everybody(self) -> Sequence[Stream]:
        return [*self.streams, *self.gone]

    # --- clients

    @rule(
        data=st.data(),
        clients=st.lists(st.integers(0, STREAMS - 1), min_size=1, max_size=4),
        edge=st.integers(0, EDGES - 1),
    )
    def log_and_send(self, data: st.DataObject, clients: list[int], edge: int) -> None:
        """Each makes a frame; all send what they have, at the same time; one without a connection opens it."""
        for index in clients:
            client = self.clients[index]
            series = self.series(data.draw(POINTS))
            client.stream.frames.append(series)
            client.outbox.add(frame(0, series))
        self.make_edges.do(self.send([self.clients[index] for index in dict.fromkeys(clients)], self.edges[edge]))

    async def send(self, clients: Sequence[Client], edge: Edge) -> None:
        for client in clients:
            if client.connection is None or not client.connection.open:
                await client.connect(edge, self.tenant)
        sent = [(client.connection, client.put()) for client in clients]
        for connection, frames in sent:
            if connection is not None:
                known = connection.edge.under_way.frames
                await connection.until(lambda frames=frames, known=known: known >= set(frames))

    @rule(index=st.integers(0, STREAMS - 1), edge=st.integers(0, EDGES - 1))
    def reconnect(self, index: int, edge: int) -> None:
        """To the same edge or another; what the old one has under way may still arrive."""
        self.make_edges.do(self.clients[index].connect(self.edges[edge], self.tenant))

    @rule(index=st.integers(0, STREAMS - 1))
    def hear(self, index: int) -> None:
        """The client reads its acknowledgements."""
        self.clients[index].read()

    @rule(index=st.integers(0, STREAMS - 1))
    def crash_client(self, index: int) -> None:
        """kill -9: what it had no acknowledgement for is gone. Another process of the run takes its place."""
        client = self.clients[index]
        self.make_edges.do(client.leave())
        self.gone.append(client.stream)
        self.streams[index] = Stream(client.stream.run_id, uuid.uuid4().bytes)
        self.clients[index] = Client(self.streams[index])

    # --- edges and the bus

    @rule(
        edge=st.integers(0, EDGES - 1),
        number=st.integers(0, 3),
        records=st.integers(1, 3),
        stands=st.booleans(),
        told=st.booleans(),
    )
    def arrive(self, edge: int, number: int, records: int, stands: bool, told: bool) -> None:
        """The next records from this edge stand on the bus, or do not, or do and the bus could not say so."""
        self.make_edges.do(self.take(self.edges[edge], number % len(self.partitions), records, stands, told))

    async def take(self, edge: Edge, number: int, records: int, stands: bool, told: bool) -> None:
        sent = edge.under_way.sent.get(number, deque())
        partition = self.partitions[number]
        for _ in range(min(records, len(sent))):
            value, future = sent.popleft()
            if stands:
                self.log[partition].append(value)
            if stands and told:
                future.set_result((partition, len(self.log[partition]) - 1))
            else:
                future.set_exception(BusUnavailable("gone fishing"))
        for _ in range(10):  # passes of the loop, in which acknowledgements get on their way
            await asyncio.sleep(0)

    @rule(index=st.integers(0, EDGES - 1), kept=st.lists(st.integers(0, 3), min_size=4, max_size=4))
    def crash_edge(self, index: int, kept: list[int]) -> None:
        """kill -9: of what was under way, the first records of each partition may have arrived. The next one sees how
        many partitions there are by now.
        """
        edge = self.edges[index]
        self.make_edges.do(self.lose_edge(edge))
        for number, sent in edge.under_way.sent.items():
            self.log[self.partitions[number]] += [value for value, _ in list(sent)[: kept[number]]]
        self.edges[index] = self.make_edges.edge(len(self.partitions))

    async def lose_edge(self, edge: Edge) -> None:
        for client in self.clients:
            if client.connection is not None and client.connection.edge is edge:
                await client.leave()

    # --- the end

    @override
    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "clients"):
                for client in self.clients:
                    self.make_edges.do(client.leave())

    @override
    def send_the_rest(self) -> None:
        """One edge dies with what it had under way, that of the other arrives; clients send the rest to a new one."""
        self.crash_edge(0, [0, 0, 0, 0])
        self.crash_edge(1, [1_000, 1_000, 1_000, 1_000])
        for client in self.clients:
            self.make_edges.do(client.connect(self.edges[0], self.tenant))
            self.make_edges.do(self.send([client], self.edges[0]))
            for number in range(len(self.partitions)):
                self.arrive(0, number, 1_000, True, True)
            assert client.stream.acknowledged == len(client.stream.frames) or client.outbox.acked == client.outbox.made
            client.stream.acknowledged = len(client.stream.frames)
