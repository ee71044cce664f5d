"""The frames of one producer between being made and being acknowledged. No I/O, no locks: its owner sees to both."""

from headrace.api.tracking.v1.metrics_pb2 import Frame


class Overtaken(Exception):  # noqa: N818 - says what happened
    """The server acknowledged a frame that was never made: it must be talking of another producer."""


class Outbox:
    """Gives each frame its seq, hands them out in order within the server's window, keeps them until acknowledged."""

    def __init__(self) -> None:
        self.made = 0
        """The seq of the last frame made."""
        self.acked = 0
        """Every frame up to this seq is durable, or refused for good."""
        self.size = 0
        """Bytes of the frames kept."""
        self._frames: dict[int, Frame] = {}
        self._sizes: dict[int, int] = {}
        self._sent = 0
        self._flying = 0
        self._window = 0

    def add(self, frame: Frame) -> None:
        """Takes a new frame; it is the next in order."""
        self.made += 1
        frame.seq = self.made
        self._frames[self.made] = frame
        self._sizes[self.made] = frame.ByteSize()
        self.size += self._sizes[self.made]

    def reopen(self, applied_seq: int, window_bytes: int) -> None:
        """A new stream stands: everything not acknowledged is sent on it, from the first such frame on."""
        self._sent = self.acked
        self._flying = 0
        self._window = window_bytes
        self.ack(applied_seq)

    def next(self) -> Frame | None:
        """The frame to send now; None while there is none, or the window is full. One frame always may be under way."""
        frame = self._frames.get(self._sent + 1)
        if frame is None:
            return None
        size = self._sizes[self._sent + 1]
        if self._flying and self._flying + size > self._window:
            return None
        self._sent += 1
        self._flying += size
        return frame

    def ack(self, seq: int) -> None:
        """Every frame up to `seq` need not be kept. Raises Overtaken for a frame that was never made."""
        if seq > self.made:
            raise Overtaken(f"frame {seq} was acknowledged, but {self.made} is the last one made")
        for done in range(self.acked + 1, seq + 1):
            del self._frames[done]
            size = self._sizes.pop(done)
            self.size -= size
            if done <= self._sent:
                self._flying -= size
        self.acked = max(self.acked, seq)
        self._sent = max(self._sent, seq)

    @property
    def waiting(self) -> bool:
        """Whether sent frames are not acknowledged yet."""
        return self._flying > 0

    def points_kept(self) -> int:
        """How many points are in the frames kept."""
        return sum(series.count for frame in self._frames.values() for series in frame.series)
