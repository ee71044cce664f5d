"""The streams of one producer: opened, held, opened anew, until there is nothing more to say."""

import logging
import threading
from collections.abc import Iterator
from typing import Final, Protocol

import grpc

from headrace import errors, forks, retry
from headrace.api.tracking.v1.ingest_service_pb2 import (
    FrameAck,
    OpenStream,
    StreamMetricsRequest,
    StreamMetricsResponse,
    StreamOpened,
)
from headrace.api.tracking.v1.metrics_pb2 import Frame
from headrace.connection import Connection
from headrace.ingest.outbox import Overtaken

log: Final = logging.getLogger("headrace")


class Talker(Protocol):
    """A producer, as its stream sees it. Everything is called with the condition held."""

    closed: bool
    """Whether the streams are to end."""

    @property
    def expects(self) -> bool:
        """Whether frames wait for an acknowledgement."""
        ...

    def next_frame(self) -> Frame | None:
        """The frame to send now, if there is one."""

    def opened(self, answer: StreamOpened) -> None:
        """A new stream stands."""

    def acked(self, ack: FrameAck) -> None:
        """The server has frames. Raises Overtaken."""

    def heard(self) -> None:
        """Something moved: the call was made, or the server said something."""

    def broke(self, error: errors.HeadraceError | None) -> None:
        """The stream has ended; another one comes, unless the producer closed."""

    def refused(self, error: errors.HeadraceError) -> None:
        """The server will have no more of this run."""


class Stream:
    """One thread that holds one stream after the other. `changed` is notified when there is something to send."""

    def __init__(
        self, opening: OpenStream, connection: Connection, changed: threading.Condition, talker: Talker
    ) -> None:
        self.standing = False
        """Whether the server has opened the stream under way."""
        self._opening = opening
        self._connection = connection
        self._changed = changed
        self._talker = talker
        self._thread: threading.Thread | None = None
        self._number = 0  # counts up with every stream, so that an old one notices
        self._call: grpc.Call | None = None
        self._over = False  # the call has ended; what the server said before may still be read

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread is not None

    @property
    def under_way(self) -> bool:
        """Whether there is a call now."""
        return self._call is not None

    def start(self) -> None:
        """Begins, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="headrace-stream", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Ends the stream under way, so that another one is opened."""
        if (call := self._call) is not None:
            call.cancel()

    def join(self) -> None:
        """The stream ends by itself once its requests do; one that does not is cut."""
        if self._thread is not None:
            self._thread.join(1.0)
            if self._thread.is_alive():
                self.cut()

    def forked(self) -> None:
        """In a forked child: thread and call are the parent's."""
        forks.keep(self._call)

    def _run(self) -> None:
        backoff = retry.Backoff(self._connection.policy)
        while not self._talker.closed:
            try:
                error = self._converse(backoff)
            except Exception as defect:
                log.exception("the stream of run %s failed", self._opening.run_id)
                error = errors.InvalidRequest(f"this client failed: {defect!r}")
            with self._changed:
                self._number += 1
                self._call = None
                self.standing = False
                if isinstance(error, errors.LASTING):
                    self._talker.refused(error)
                    return
                self._talker.broke(error)
                asked = error.retry_after_s if error else None
                self._changed.wait_for(lambda: self._talker.closed, backoff.next(asked))

    def _converse(self, backoff: retry.Backoff) -> errors.HeadraceError | None:
        """Holds one stream; returns when it has ended, with why."""
        connection = self._connection
        try:
            call = connection.ingest.StreamMetrics(self._requests(self._number), metadata=connection.metadata())
        except errors.HeadraceError as error:
            return error
        with self._changed:
            self._call = call
            self._over = False
            self._talker.heard()
        if not call.add_callback(lambda: self._ended(call)):
            self._ended(call)
        try:
            while (answer := self._answer(call)) is not None:
                with self._changed:
                    self._talker.heard()
                    if answer.HasField("opened"):
                        self.standing = True
                        self._talker.opened(answer.opened)
                    elif answer.HasField("ack"):
                        self._talker.acked(answer.ack)
                    self._changed.notify_all()
                if answer.HasField("ack"):
                    backoff.reset()
        except grpc.RpcError as error:
            return connection.failure(error)
        except Overtaken as error:
            return errors.InternalError(str(error))
        finally:
            call.cancel()  # nothing, where it has ended
        return None

    def _answer(self, call: "Iterator[StreamMetricsResponse]") -> StreamMetricsResponse | None:
        """What the server says next; None at the end. A run with nothing under way waits here: grpc would look ten times a second."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._over or not self.standing or self._talker.expects or self._talker.closed
            )
        return next(call, None)

    def _ended(self, call: grpc.Call) -> None:
        with self._changed:
            if self._call is call:
                self._over = True
                self._changed.notify_all()

    def _requests(self, number: int) -> Iterator[StreamMetricsRequest]:
        yield StreamMetricsRequest(open=self._opening)
        while (frame := self._next_frame(number)) is not None:
            yield StreamMetricsRequest(frame=frame)

    def _next_frame(self, number: int) -> Frame | None:
        """Waits for the frame to send next; None when this stream is to end."""
        with self._changed:
            while self._number == number and not self._talker.closed:
                if self.standing and (frame := self._talker.next_frame()) is not None:
                    return frame
                self._changed.wait()
            return None
