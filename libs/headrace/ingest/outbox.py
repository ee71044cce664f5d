"""The frames of one producer between being made and being acknowledged. No I/O, no locks: its owner sees to both."""

from collections.abc import Callable, Iterator

from headrace.api.tracking.v1.metrics_pb2 import Frame
from headrace.ingest.frames import points_of


class Overtaken(Exception):  # noqa: N818 - says what happened
    """The server acknowledged a frame that was never made: it must be talking of another producer."""


class Outbox:
    """Gives each frame its seq, hands them out in order within the server's window, keeps them until acknowledged.

    A frame may be moved out of memory; `load(seq)` brings it back when it is to be sent.
    """

    def __init__(self, load: Callable[[int], Frame]) -> None:
        self._load = load
        self.made = 0
        """The seq of the last frame made."""
        self.acked = 0
        """Every frame up to this seq is durable, or refused for good."""
        self.size = 0
        """Bytes of the frames kept in memory."""
        self._frames: dict[int, Frame] = {}
        self._sizes: dict[int, int] = {}  # of frames moved away too, as `_points`
        self._points: dict[int, int] = {}
        self._sent = 0
        self._flying = 0
        self._window = 0

    def add(self, frame: Frame) -> None:
        """Takes a new frame; it is the next in order."""
        self.made += 1
        frame.seq = self.made
        self._frames[self.made] = frame
        self._sizes[self.made] = frame.ByteSize()
        self._points[self.made] = points_of(frame)
        self.size += self._sizes[self.made]

    def resume(self, frame: Frame) -> None:
        """Takes a frame that another process made, the next after the one before; it stays where `load` finds it."""
        if self.made == 0:
            self.acked = self._sent = self.made = frame.seq - 1
        self.made = frame.seq
        self._sizes[frame.seq] = frame.ByteSize()
        self._points[frame.seq] = points_of(frame)

    def in_memory(self) -> Iterator[Frame]:
        """The frames not moved away, in order."""
        yield from tuple(self._frames.values())

    def moved(self, seq: int) -> None:
        """This frame is where `load` finds it, and need not be kept here."""
        del self._frames[seq]
        self.size -= self._sizes[seq]

    def reopen(self, applied_seq: int, window_bytes: int) -> None:
        """A new stream stands: everything not acknowledged is sent on it, from the first such frame on."""
        self._sent = self.acked
        self._flying = 0
        self._window = window_bytes
        self.ack(applied_seq)

    def next(self) -> Frame | None:
        """The frame to send now; None while there is none, or the window is full. One frame always may be under way."""
        size = self._sizes.get(self._sent + 1)
        if size is None or (self._flying and self._flying + size > self._window):
            return None
        frame = self._frames.get(self._sent + 1)
        if frame is None:
            frame = self._load(self._sent + 1)
        self._sent += 1
        self._flying += size
        return frame

    def ack(self, seq: int) -> None:
        """Every frame up to `seq` need not be kept. Raises Overtaken for a frame that was never made."""
        if seq > self.made:
            raise Overtaken(f"frame {seq} was acknowledged, but {self.made} is the last one made")
        for done in range(self.acked + 1, seq + 1):
            size = self._sizes.pop(done)
            del self._points[done]
            if self._frames.pop(done, None) is not None:
                self.size -= size
            if done <= self._sent:
                self._flying -= size
        self.acked = max(self.acked, seq)
        self._sent = max(self._sent, seq)

    @property
    def waiting(self) -> bool:
        """Whether sent frames are not acknowledged yet."""
        return self._flying > 0

    @property
    def empty(self) -> bool:
        """Whether every frame made is acknowledged."""
        return self.acked >= self.made

    def points_kept(self) -> int:
        """How many points are in the frames kept, in memory or elsewhere."""
        return sum(self._points.values())

    def points_in_memory(self) -> int:
        """How many points are in the frames not moved away."""
        return sum(self._points[seq] for seq in self._frames)
