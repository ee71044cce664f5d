"""Start, run, stop: a process with any subset of the services, drained in one order that is written here once.

    health NOT_SERVING -> endless streams end -> fronts (HTTP) finish -> calls finish -> workers close and join -> outbox relays close and join
    -> producers flush -> resources (pools, channels) close in reverse -> telemetry is sent

A service's `app.start(config, runner)` wires it in a straight line and hands everything that must be stopped to the runner.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from headrace_kit import config, rpc, telemetry
from headrace_kit.auth import Authenticator, Identity, RemoteIdentity
from headrace_kit.bus import Bus, Producer

log = logging.getLogger(__name__)

_JOIN_S: Final = 10.0
_CHECK_EVERY_S: Final = 2.0
_ELSEWHERE: Final = "127.0.0.1:7100"  # for the gateway, and for several services in one process


class Resource(Protocol):
    """Opened before the first call, closed after the last."""

    async def open(self) -> None:
        """Connects; raises when that fails."""
        ...

    async def close(self) -> None:
        """Frees everything."""
        ...


class Background(Protocol):
    """A thread or process beside the calls; `headrace_kit.worker.Worker` is the usual one."""

    def start(self) -> None:
        """Starts it."""
        ...

    def close(self) -> None:
        """Asks it to stop; never blocks."""
        ...

    def join(self, timeout: float) -> bool:
        """Waits for its end; False when the time ran out."""
        ...


class Front(Protocol):
    """A server other than the gRPC one."""

    address: str
    """Where it listens, once started."""

    async def start(self) -> None:
        """Listens."""
        ...

    async def drain(self, seconds: float) -> None:
        """Takes no more requests and lets those under way end."""
        ...


R = TypeVar("R", bound=Resource)
B = TypeVar("B", bound=Background)
C = TypeVar("C", bound=config.ServiceConfig)


class Runner:
    """One process: its gRPC server and everything behind it. Use `run` once."""

    def __init__(self, settings: config.ServiceConfig, *, telemetry: telemetry.Telemetry, identity: Identity) -> None:
        self.telemetry = telemetry
        self.address = ""
        """Where the gRPC server listens, once `run` said so."""
        self._settings = settings
        self._authenticate = Authenticator(settings.auth, settings.service_secret, identity)
        self._servicers: list[rpc.Servicer] = []
        self._resources: list[Resource] = []
        self._workers: list[Background] = []
        self._relays: list[Background] = []
        self._producers: list[Producer] = []
        self._buses: list[Bus] = []
        self._fronts: list[Front] = []
        self._checks: list[Callable[[], Awaitable[None]]] = []
        self._endings: list[Callable[[], None]] = []
        aio: Any = getattr(health, "aio")  # noqa: B009 - made at import, which no stub tells
        self._health = aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._failure: BaseException | None = None

    async def resource(self, resource: R) -> R:
        """Opens it now and closes it at the end."""
        await resource.open()
        self._resources.append(resource)
        return resource

    def bus(self, bus: Bus) -> Bus:
        """Closes it after its producers."""
        self._buses.append(bus)
        return bus

    def producer(self, producer: Producer) -> Producer:
        """Flushes and closes it after workers and relays."""
        self._producers.append(producer)
        return producer

    def worker(self, worker: B) -> B:
        """Starts it once calls are served."""
        self._workers.append(worker)
        return worker

    def relay(self, relay: B) -> B:
        """As `worker`, but stopped after the workers, whose events it still sends."""
        self._relays.append(relay)
        return relay

    @property
    def fronts(self) -> Sequence[Front]:
        """What `front` was given."""
        return self._fronts

    def front(self, front: Front) -> None:
        """Starts it once calls are served."""
        self._fronts.append(front)

    def serve(self, servicer: rpc.Servicer) -> None:
        """Adds a gRPC service."""
        self._servicers.append(servicer)

    def identify_by(self, identity: Identity) -> None:
        """Asks the identity service of this very process, instead of calling it."""
        self._authenticate = Authenticator(self._settings.auth, self._settings.service_secret, identity)

    def check(self, check: Callable[[], Awaitable[None]]) -> None:
        """Called every two seconds; while it raises, health says NOT_SERVING."""
        self._checks.append(check)

    def on_drain(self, end: Callable[[], None]) -> None:
        """Called first in the drain, on the loop: ends streams that would not end by themselves."""
        self._endings.append(end)

    def stop(self) -> None:
        """Begins the drain; from the loop's thread."""
        self._stop.set()

    def fail(self, error: BaseException) -> None:
        """A thread of this process died: drains and makes `run` raise. From any thread."""
        log.critical("a helper thread died; stopping this process", exc_info=error)
        self._failure = self._failure or error
        self._loop.call_soon_threadsafe(self._stop.set)

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT call `stop`. For the process whose main thread this is."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until `stop`; then drains. Raises what `fail` was given."""
        try:
            await self._start()
            ready()
            await self._watch()
        finally:
            await self.drain()
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> None:
        access = rpc.policies(s.descriptor for s in self._servicers)
        edge = rpc.Edge(access, self._authenticate, self.telemetry)
        server = grpc.aio.server(interceptors=[edge], options=rpc.SERVER_OPTIONS)
        for servicer in self._servicers:
            servicer.add(servicer.implementation, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [s.descriptor.full_name for s in self._servicers]
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection([*names, health_name, reflection.SERVICE_NAME], server)
        host = self._settings.listen.rpartition(":")[0]
        try:
            port = server.add_insecure_port(self._settings.listen)
        except RuntimeError as error:
            problem = f"cannot listen on {self._settings.listen}: {error}; choose another port"
            raise OSError(errno.EADDRINUSE, problem) from None
        self.address = f"{host}:{port}"
        self._server = server
        await server.start()
        for background in (*self._relays, *self._workers):
            background.start()
        for front in self._fronts:
            await front.start()
        await self._tell(serving=True)

    async def _watch(self) -> None:
        while not self._stop.is_set():
            await self._tell(serving=await self._healthy())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _CHECK_EVERY_S)

    async def _healthy(self) -> bool:
        for check in self._checks:
            try:
                await asyncio.wait_for(check(), 5)
            except Exception as error:  # noqa: BLE001 - whatever it is, this process cannot serve now
                log.warning("not serving: %s", error)
                return False
        return True

    async def _tell(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(s.descriptor.full_name for s in self._servicers)):
            await self._health.set(name, status)

    async def drain(self) -> None:
        """The drain order; every step has a limit. Called by `run`; call it yourself when wiring failed."""
        seconds = self._settings.drain_seconds
        await self._health.enter_graceful_shutdown()
        for end in self._endings:
            end()
        await asyncio.gather(*(front.drain(seconds) for front in self._fronts))
        if self._server is not None:
            await self._server.stop(seconds)
        for group in (self._workers, self._relays):
            for background in group:
                background.close()
            deadline = self._loop.time() + _JOIN_S  # for all of them: where a backend hangs, each would take its time
            for background in group:
                if not await asyncio.to_thread(background.join, max(0.0, deadline - self._loop.time())):
                    log.error("%r did not stop within %s s; left behind", background, _JOIN_S)
        closables: list[Producer | Bus] = [*self._producers, *self._buses]
        for closable in closables:
            await asyncio.to_thread(closable.close)
        for resource in reversed(self._resources):
            await resource.close()
        await asyncio.to_thread(self.telemetry.close)


def logging_to_stderr(environ: Mapping[str, str]) -> None:
    """Plain lines on stderr, level HEADRACE_LOG_LEVEL (default INFO)."""
    logging.basicConfig(
        level=environ.get("HEADRACE_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("kafka").setLevel(logging.WARNING)


def main(name: str, kind: type[C], start: Callable[[C, Runner], Awaitable[Any]]) -> None:
    """The whole of a service's `__main__`: settings from the environment, wiring, run.

    Prints "READY <service> grpc=<address>" (and http=<address> for the gateway) on stdout once it serves. Exit code 2 for wrong settings, 1 for a failure.
    """
    logging_to_stderr(os.environ)
    try:
        own_address = getattr(kind, name, _ELSEWHERE)
        settings = config.load(kind, {f"{config.PREFIX}LISTEN": own_address, **os.environ})
    except config.ConfigError as error:
        sys.exit(_told(str(error), 2))
    try:
        uvloop.run(_run(name, settings, start))
    except (OSError, RuntimeError) as error:
        log.debug("stack", exc_info=error)
        sys.exit(_told(f"headrace {name}: {error}", 1))


async def _run(name: str, settings: C, start: Callable[[C, Runner], Awaitable[Any]]) -> None:
    identity = rpc.channel(settings.identity)
    runner = Runner(
        settings,
        telemetry=telemetry.configure(f"headrace-{name}", os.environ),
        identity=RemoteIdentity(identity, settings.service_secret),
    )
    runner.stop_on_signals()
    try:
        await start(settings, runner)
    except BaseException:
        await runner.drain()
        raise

    def ready() -> None:
        http = "".join(f" http={front.address}" for front in runner.fronts)
        print(f"READY {name} grpc={runner.address}{http}", flush=True)  # noqa: T201 - the line that scripts wait for

    await runner.run(ready)
    await identity.close()


def _told(message: str, code: int) -> int:
    print(message, file=sys.stderr)  # noqa: T201 - the last word of the process
    return code
