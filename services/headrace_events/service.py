"""EventService: from a request to a stream of events."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import grpc

from headrace.api.events.v1 import event_service_pb2 as pb
from headrace.api.events.v1.event_service_pb2_grpc import EventServiceServicer
from headrace_events import positions
from headrace_events.hub import Hub
from headrace_events.past import Past, unavailable
from headrace_events.selection import selection
from headrace_events.tail import TOPICS
from headrace_kit import tenancy
from headrace_kit.bus import Partition
from headrace_kit.errors import InvalidField

Context = grpc.aio.ServicerContext[Any, Any]

_NEAR: Final = 500
"""Offsets of all tenants between a subscription and the hub at which it joins; its room for waiting events is twice that."""
_WAIT_S: Final = 10.0
_TOPICS: Final = frozenset(TOPICS)


class EventService(EventServiceServicer):
    """`idle_s`: after so long without an event a subscription is told its new cursor."""

    def __init__(self, hub: Hub, past: Past, *, idle_s: float) -> None:
        self._hub = hub
        self._past = past
        self._idle_s = idle_s

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> AsyncIterator[pb.SubscribeResponse]:
        wanted = selection(tenancy.caller().tenant_id, request.types, request.subject_prefix)
        here = await self._start(request)
        while positions.gap(here, self._hub.place) > _NEAR:
            yield _cursor(here)
            stretch = await self._past.read(wanted, here, self._hub.place)
            for response in stretch.responses:
                yield response
            here = stretch.end
            self._hub.check_open()
        # No await since `here` was found for who begins at the latest: such a one has no past to read.
        with self._hub.join(wanted) as live:
            yield _cursor(here)
            while positions.gap(here, live.start):
                stretch = await self._past.read(wanted, here, live.start)
                for response in stretch.responses:
                    yield response
                here = stretch.end
            while True:
                response_or_none = await live.next(self._idle_s)
                yield response_or_none or pb.SubscribeResponse(cursor=self._hub.cursor())

    async def _start(self, request: pb.SubscribeRequest) -> Mapping[Partition, int]:
        """Where the subscription begins; the hub is never behind it."""
        start = getattr(request, "from")  # a keyword of Python's
        if start not in pb.Start.values():
            raise InvalidField("from", f"must be one of {', '.join(pb.Start.keys())}; got {start}")
        await self._started()
        if request.cursor:
            here = positions.decode(request.cursor, _TOPICS)
            await self._reached(here)
            return here
        return {} if start == pb.START_EARLIEST else self._hub.place

    async def _started(self) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._hub.started.wait()
        except TimeoutError:
            raise unavailable("since this event service was started") from None

    async def _reached(self, here: Mapping[Partition, int]) -> None:
        """Waits for the hub: another process of this service may have given the cursor and be a moment ahead."""
        if not positions.gap(self._hub.place, here):
            return
        if positions.gap(await self._past.ends(), here):
            raise positions.ahead_of_bus()
        try:
            async with asyncio.timeout(_WAIT_S):
                while positions.gap(self._hub.place, here):
                    await self._hub.moved.wait()
        except TimeoutError:
            raise unavailable("this process is behind it") from None


def _cursor(here: Mapping[Partition, int]) -> pb.SubscribeResponse:
    return pb.SubscribeResponse(cursor=positions.encode(here))
