"""The edge in memory: it loses acknowledgements and cuts streams at a chosen place."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import zstandard

from fake_answers import abort
from headrace.api.tracking.v1 import ingest_service_pb2 as ingest_wire
from headrace.api.tracking.v1 import metrics_pb2
from headrace_kit import errors

Points = list[tuple[int, int, float]]


@dataclass
class StreamPlan:
    """What goes wrong on one stream of metrics."""

    cut_after: int | None = None
    """Frames taken before the stream breaks."""
    lose_acks: bool = False
    """Takes frames, acknowledges none."""
    ack_every: int = 1
    refuse: frozenset[int] = frozenset()
    """Seqs of frames that hold something invalid."""
    answer: errors.DomainError | None = None
    """What the stream fails with before it is opened."""
    hold_acks: threading.Event | None = None
    """Takes frames, and acknowledges none before this is set, though it goes on talking."""
    silent: bool = False
    """Neither opened nor ended."""


@dataclass
class FakeIngest:
    """Keeps frames by run and producer as the contract says: in order, each once."""

    plans: Iterator[StreamPlan] = field(default_factory=lambda: iter(()))
    window_bytes: int = 1 << 20
    max_frame_bytes: int = 1 << 20
    max_frame_points: int = 100_000
    faults: list[str] = field(default_factory=list)
    """Breaches of the contract by the client."""
    streams: int = 0

    def __post_init__(self) -> None:
        self.frames: dict[str, dict[bytes, list[metrics_pb2.Frame]]] = defaultdict(lambda: defaultdict(list))
        self._lock = threading.Lock()

    def StreamMetrics(self, request_iterator: Any, context: Any) -> Iterator[ingest_wire.StreamMetricsResponse]:
        with self._lock:
            self.streams += 1
            plan = next(self.plans, StreamPlan())
        if plan.answer is not None:
            abort(context, plan.answer)
        opening = next(request_iterator).open
        kept = self.frames[opening.run_id][opening.producer_id]
        if plan.silent:
            list(request_iterator)
            return
        opened = ingest_wire.StreamOpened(
            applied_seq=len(kept),
            window_bytes=self.window_bytes,
            max_frame_bytes=self.max_frame_bytes,
            max_frame_points=self.max_frame_points,
        )
        yield ingest_wire.StreamMetricsResponse(opened=opened)
        if plan.hold_acks is None:
            yield from self._acks(request_iterator, context, plan, kept)
        else:
            yield from self._late_acks(request_iterator, context, plan.hold_acks, kept)

    def _late_acks(
        self, requests: Any, context: Any, go: threading.Event, kept: list[metrics_pb2.Frame]
    ) -> Iterator[ingest_wire.StreamMetricsResponse]:
        def take() -> None:
            with suppress(grpc.RpcError):
                list(self._acks(requests, context, StreamPlan(lose_acks=True), kept))

        taker = threading.Thread(target=take)
        taker.start()
        while taker.is_alive():
            yield ingest_wire.StreamMetricsResponse(ack=ingest_wire.FrameAck(seq=len(kept) if go.wait(0.01) else 0))
            taker.join(0.01)

    def _acks(
        self, requests: Any, context: Any, plan: StreamPlan, kept: list[metrics_pb2.Frame]
    ) -> Iterator[ingest_wire.StreamMetricsResponse]:
        refused: list[ingest_wire.RefusedFrame] = []
        last = None
        for taken, request in enumerate(requests, 1):
            frame = request.frame
            self._check(frame, last, len(kept))
            last = frame.seq
            if frame.seq == len(kept) + 1:
                kept.append(frame)
            if frame.seq in plan.refuse:
                points = sum(series.count for series in frame.series)
                refused.append(
                    ingest_wire.RefusedFrame(seq=frame.seq, points=points, field="series[0].key", message="is not nice")
                )
            if taken == plan.cut_after:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
            if not plan.lose_acks and taken % plan.ack_every == 0:
                position = metrics_pb2.Position(partition=3, offset=len(kept) - 1)
                yield ingest_wire.StreamMetricsResponse(
                    ack=ingest_wire.FrameAck(seq=frame.seq, position=position, refused=refused)
                )
                refused = []

    def _check(self, frame: metrics_pb2.Frame, last: int | None, kept: int) -> None:
        if last is not None and frame.seq != last + 1:
            self.faults.append(f"frame {frame.seq} after {last}")
        if frame.seq > kept + 1:
            self.faults.append(f"frame {frame.seq}, but {kept} is the last one kept")
        if frame.ByteSize() > self.max_frame_bytes:
            self.faults.append(f"frame {frame.seq} has {frame.ByteSize()} bytes")
        if sum(series.count for series in frame.series) > self.max_frame_points:
            self.faults.append(f"frame {frame.seq} has too many points")

    def points(self, run_id: str) -> dict[str, Points]:
        """Key → its points as (step, ms, value), of all producers of a run, in the order in which they came."""
        found: dict[str, Points] = defaultdict(list)
        for frames in self.frames[run_id].values():
            for frame in frames:
                for key, points in decoded(frame).items():
                    found[key] += points
        return dict(found)


def decoded(frame: metrics_pb2.Frame) -> dict[str, Points]:
    """The points of a frame by key."""
    packed = frame.columns
    if frame.encoding == metrics_pb2.ENCODING_ZSTD:
        packed = zstandard.ZstdDecompressor().decompress(packed)
    columns = metrics_pb2.MetricColumns.FromString(packed)
    step = time = 0
    points: Points = []
    for step_delta, time_delta, value in zip(columns.step_deltas, columns.time_deltas, columns.values, strict=True):
        step, time = step + step_delta, time + time_delta
        points.append((step, time, value))
    found: dict[str, Points] = {}
    for series in frame.series:
        found[series.key], points = points[: series.count], points[series.count :]
    assert not points
    return found
