"""Points of runs, to Headrace and back: so that sending them again changes nothing.

They go by unary calls, without a producer: such points are a set (docs/durability.md, MLflow's own rule), and one that was
there before, from an attempt that was killed or from another import at the same time, shows once.
"""

import threading
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.api.tracking.v1.metrics_pb2 import Position
from headrace.client import Client
from headrace.imports import checksum
from headrace.imports.checksum import Total
from headrace.imports.points import Points
from headrace.ingest.columns import Block
from headrace.ingest.compression import Compressor
from headrace.ingest.frames import Limits, make_frames
from headrace.records import MetricHistory

_LIMITS: Final = Limits(50_000, 900 << 10)
_READ_S: Final = 600.0


class Sending:
    """Where the points of one Headrace go; remembers where they stand. For any number of threads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stand: dict[int, int] = {}
        self._lock = threading.Lock()

    def send(self, run_id: str, series: Iterable[tuple[str, Points]]) -> int:
        """Returns when all is durable; how many points that were. The keys must be good."""
        sent, waiting = 0, list[Block]()
        compress = Compressor("auto", near=self._client.connection.near)
        for key, points in series:
            for start in range(0, len(points), _LIMITS.points):
                part = points.at(slice(start, start + _LIMITS.points))
                if sum(map(len, waiting)) + len(part) > _LIMITS.points:
                    self._call(run_id, waiting, compress)
                    waiting = []
                waiting.append(Block(key, array("d", part.values.tobytes()), part.steps.tolist(), part.times.tolist()))
                sent += len(part)
        if waiting:
            self._call(run_id, waiting, compress)
        return sent

    def _call(self, run_id: str, blocks: list[Block], compress: Compressor) -> None:
        for frame in make_frames(blocks, _LIMITS):
            compress(frame)
            request = wire.LogMetricsRequest(run_id=run_id, frame=frame)
            answer = self._client.connection.call(lambda c: c.tracking.LogMetrics, request)
            with self._lock:
                for at in answer.positions:
                    self._stand[at.partition] = max(at.offset, self._stand.get(at.partition, -1))

    def positions(self) -> list[Position]:
        """Up to where a read must wait to see what was sent."""
        with self._lock:
            return [Position(partition=number, offset=offset) for number, offset in sorted(self._stand.items())]

    def totals(self, run_id: str) -> dict[str, Total]:
        """Each series of a run as it is in Headrace, all that was sent included."""

        def attempt() -> dict[str, Total]:
            found: dict[str, Total] = {}
            for key, part in self._read(run_id, ()):
                found[key] = found.get(key, Total()) + checksum.of_points(run_id, key, part)
            return found

        return self._client.connection.patiently(attempt)

    def points(self, run_id: str, key: str) -> Points:
        """One series of it."""
        connection = self._client.connection
        return connection.patiently(lambda: Points.joined([part for _, part in self._read(run_id, (key,))]))

    def _read(self, run_id: str, keys: Iterable[str]) -> Iterator[tuple[str, Points]]:
        request = wire.ReadMetricsRequest(run_ids=[run_id], keys=keys, at_least=self.positions())
        connection = self._client.connection
        for answer in connection.stream(lambda c: c.tracking.ReadMetrics, request, timeout_s=_READ_S):
            part = MetricHistory(answer.block.key)
            part.extend(answer.block)
            yield answer.block.key, Points.of(part)
