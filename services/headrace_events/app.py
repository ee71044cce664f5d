"""Wiring of the event service."""

from dataclasses import dataclass

from typing_extensions import override

from headrace.api.events.v1 import event_service_pb2
from headrace.api.events.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from headrace_events.hub import Hub
from headrace_events.past import Past
from headrace_events.service import EventService
from headrace_events.tail import Tail
from headrace_kit.bus.choose import open_bus
from headrace_kit.config import ServiceConfig, setting
from headrace_kit.lifecycle import Runner
from headrace_kit.rpc import Servicer


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig):
    """Settings of the event service."""

    event_readers: int = setting(8, "Subscriptions that are brought up from an earlier cursor at the same time.")
    event_idle_seconds: float = setting(30.0, "After so long without an event a subscription is told its new cursor.")

    @override
    def problems(self) -> list[str]:
        found = super().problems()
        if self.event_readers < 1:
            found.append(f"event_readers: must be at least 1, got {self.event_readers}")
        if self.event_idle_seconds <= 0:
            found.append(f"event_idle_seconds: must be more than 0, got {self.event_idle_seconds}")
        return found


async def start(config: Config, runner: Runner) -> None:
    """Wires the service into the process."""
    bus = runner.bus(open_bus(config))
    hub = Hub()
    runner.on_drain(hub.close)
    past = await runner.resource(Past(bus, readers=config.event_readers))
    tail = runner.worker(Tail(bus, hub, runner.fail))
    runner.check(tail.check)
    runner.serve(
        Servicer(
            event_service_pb2.DESCRIPTOR.services_by_name["EventService"],
            add_EventServiceServicer_to_server,
            EventService(hub, past, idle_s=config.event_idle_seconds),
        )
    )
