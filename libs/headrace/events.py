"""Facts as they happen: a subscription that goes on by itself after a broken connection."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from typing_extensions import override

from headrace import errors, retry
from headrace.api.artifacts.v1 import artifacts_events_pb2
from headrace.api.deployment.v1 import deployment_events_pb2
from headrace.api.events.v1 import event_service_pb2 as wire
from headrace.api.registry.v1 import registry_events_pb2
from headrace.api.tracking.v1 import tracking_events_pb2
from headrace.connection import Connection
from headrace.default import of_default

_KNOWN: Final[dict[str, str]] = {
    name: descriptor.full_name
    for module in (artifacts_events_pb2, deployment_events_pb2, registry_events_pb2, tracking_events_pb2)
    for name, descriptor in module.DESCRIPTOR.message_types_by_name.items()
}
"""Short name → full name."""

_POOL: Final = descriptor_pool.Default()  # type: ignore[no-untyped-call] # upstream
_AHEAD: Final = 1_000  # events fetched and not asked for; the server waits when there are more
_ANSWER_S: Final = 30.0  # a server that was reached and says nothing


@dataclass(frozen=True, slots=True)
class Event:
    """A fact in the past tense about one resource."""

    type: str
    """Full message name, such as "headrace.api.registry.v1.ModelVersionPromoted"."""
    id: str
    """The same for an event that comes a second time."""
    subject: str
    """The resource, such as "tenants/default/models/wine/versions/3"."""
    time: datetime
    message: Any
    """The decoded message; None for a type that this version of the client does not know."""
    cursor: str = field(repr=False)
    """`subscribe(cursor=...)` goes on behind this event."""
    data: bytes = field(repr=False)
    """The message, serialized."""


class Events:
    """The events of one Headrace, as far as they are the tenant's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def subscribe(
        self,
        types: str | Iterable[str | type[Message]] = (),
        *,
        subject_prefix: str = "",
        cursor: str = "",
        from_: Literal["latest", "earliest"] = "latest",
        timeout: float | None = None,
    ) -> "Subscription":
        """Subscribes to events; returns when the subscription stands: what happens from then on is not missed.

        `types` are message classes or their names, full or short ("ModelVersionPromoted"); none means all. A `cursor`
        goes on behind the event that had it; without one, `from_` says where to begin. Events of one resource come in
        order, and each comes at least once. After a broken connection the subscription goes on behind the last event.
        `timeout` is how many seconds the iteration waits for the next event before it raises TimedOut; None is for ever.

        Close it, or use it as a context manager. Raises InvalidRequest for an unknown type or a bad cursor.
        """
        start = wire.START_EARLIEST if from_ == "earliest" else wire.START_LATEST
        names = [_full_name(kind) for kind in ([types] if isinstance(types, str) else types)]
        request = wire.SubscribeRequest(subject_prefix=subject_prefix, cursor=cursor, types=names)
        setattr(request, "from", start)  # a keyword of Python's
        return Subscription(self._connection, request, timeout)


class Subscription(Iterator[Event]):
    """Events as they happen, one after the other; made by `subscribe`. For one thread, and not for a forked child."""

    def __init__(self, connection: Connection, request: wire.SubscribeRequest, timeout: float | None) -> None:
        self._connection = connection
        self._request = request
        self._timeout = timeout
        self._arrived: queue.Queue[Event | errors.HeadraceError | None] = queue.Queue(_AHEAD)
        self._stands = threading.Event()
        self._failed: errors.HeadraceError | None = None
        self._closing = threading.Event()
        self._call: grpc.Call | None = None
        threading.Thread(target=self._keep, name="headrace-events", daemon=True).start()
        opens_s = connection.patience_s + _ANSWER_S
        if not self._stands.wait(opens_s):
            self._failed = errors.TimedOut(f"the subscription did not stand within {opens_s:g} s")
        if self._failed is not None:
            self.close()
            raise self._failed

    @override
    def __next__(self) -> Event:
        return self.next(self._timeout)

    def next(self, timeout: float | None = None) -> Event:
        """The next event; waits `timeout` seconds at most, None is for ever.

        Raises TimedOut; StopIteration once closed; or the error for which the server ended the subscription.
        """
        if self._closing.is_set() and self._arrived.empty():
            raise StopIteration
        try:
            arrived = self._arrived.get(timeout=timeout)
        except queue.Empty:
            raise errors.TimedOut(f"no event within {timeout:g} s") from None
        if isinstance(arrived, Event):
            return arrived
        self.close()
        raise arrived or StopIteration

    def within(self, seconds: float) -> Iterator[Event]:
        """The events that come from now on until so many seconds have passed; ends then."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                event = self.next(left)
            except (errors.TimedOut, StopIteration):
                return
            yield event

    def close(self) -> None:
        """Ends the subscription; events fetched already can still be read."""
        self._closing.set()
        call = self._call
        if call is not None:
            call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self) -> None:
        """What the thread does: opens the stream until the subscription is closed or the server will have no more."""
        backoff = retry.Backoff(self._connection.policy)
        until = time.monotonic() + self._connection.patience_s
        while not self._closing.is_set():
            error = self._converse(backoff)
            delay = backoff.next(error.retry_after_s if error else None)
            hopeless = not self._stands.is_set() and time.monotonic() + delay > until
            if error and (hopeless or isinstance(error, errors.LASTING)):
                self._put(error)
                self._failed = error
                self._stands.set()
                return
            self._closing.wait(delay)
        self._put(None)

    def _converse(self, backoff: retry.Backoff) -> errors.HeadraceError | None:
        """Reads one stream to its end; why it ended."""
        connection = self._connection
        try:
            call = connection.events.Subscribe(self._request, metadata=connection.metadata())
        except errors.HeadraceError as error:
            return error
        self._call = call
        if self._closing.is_set():  # closed before there was a call to cancel
            call.cancel()
        try:
            for answer in call:
                backoff.reset()
                if answer.HasField("event"):
                    self._put(_event(answer))
                self._request.cursor = answer.cursor
                self._stands.set()
        except grpc.RpcError as error:
            return connection.failure(error)
        return None

    def _put(self, item: Event | errors.HeadraceError | None) -> None:
        """Waits until there is room; the server waits meanwhile."""
        while True:
            try:
                self._arrived.put(item, timeout=0.5)
            except queue.Full:
                if self._closing.is_set():
                    return
            else:
                return


def _full_name(kind: str | type[Message]) -> str:
    if not isinstance(kind, str):
        return str(kind.DESCRIPTOR.full_name)
    if "." in kind:
        return kind
    if kind not in _KNOWN:
        raise errors.InvalidRequest(f"types: no event is called {kind!r}; there are {', '.join(sorted(_KNOWN))}")
    return _KNOWN[kind]


def _event(answer: wire.SubscribeResponse) -> Event:
    event = answer.event
    return Event(
        type=event.type,
        id=event.id,
        subject=event.subject,
        time=event.time.ToDatetime(UTC),
        message=_decoded(event.type, event.data),
        cursor=answer.cursor,
        data=event.data,
    )


def _decoded(kind: str, data: bytes) -> Message | None:
    try:
        descriptor = _POOL.FindMessageTypeByName(kind)
    except KeyError:
        return None
    return message_factory.GetMessageClass(descriptor).FromString(data)


subscribe = of_default(Events.subscribe, lambda client: client.events)
