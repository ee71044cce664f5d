"""Where a Headrace is and how to call it: discovery, channels, credentials, retries, typed errors."""

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

import grpc

from headrace import errors, forks, retry, tracing
from headrace.api.artifacts.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from headrace.api.deployment.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from headrace.api.events.v1.event_service_pb2_grpc import EventServiceStub
from headrace.api.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from headrace.api.registry.v1.webhook_service_pb2_grpc import WebhookServiceStub
from headrace.api.tracking.v1.ingest_service_pb2_grpc import IngestServiceStub
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from headrace.versions import version


class _AsksForPage(Protocol):
    page_token: str


class _HasNextPage(Protocol):
    next_page_token: str


Q = TypeVar("Q")
A = TypeVar("A")
PageQ = TypeVar("PageQ", bound=_AsksForPage)
PageA = TypeVar("PageA", bound=_HasNextPage)
S = TypeVar("S")

DEFAULT_URI: Final = "http://127.0.0.1:8080"
DEFAULT_WORKSPACE: Final = "default"
WELL_KNOWN: Final = "/.well-known/headrace"
CALL_S: Final = 30.0
"""Default deadline of one attempt of a unary call."""

_DISCOVERY_S: Final = 5.0
_FRESH_S: Final = 1.0  # a discovery younger than this is not repeated after a failure
_WORKSPACE: Final = re.compile(r"[a-z0-9-]{2,63}")
_SCHEMES: Final = ("http", "https", "grpc", "grpcs")
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    ("grpc.keepalive_time_ms", 20_000),  # a vanished server is noticed within 30 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Connection:
    """The way to one Headrace. Making one does no I/O; threads may share it; a forked child opens its own channels."""

    def __init__(
        self, uri: str = "", token: str = "", workspace: str = "", *, policy: retry.Policy = retry.DEFAULT
    ) -> None:
        self.uri = (uri or os.environ.get("HEADRACE_URI", "") or DEFAULT_URI).rstrip("/")
        self._parts = _checked(self.uri)
        self._token = token or os.environ.get("HEADRACE_TOKEN", "")
        self.workspace = _workspace(workspace or os.environ.get("HEADRACE_WORKSPACE", ""))
        self.policy = policy
        self._reached = False
        self._addresses: dict[str, str] = {}
        self._stale = True
        self._discovered_at = -_FRESH_S
        self._stubs: dict[tuple[str, type], Any] = {}
        self._channels: dict[str, grpc.Channel] = {}
        self._lock = threading.Lock()
        forks.watch(self)

    @property
    def tracking(self) -> TrackingServiceStub:
        """Experiments, runs, metrics."""
        return self._stub("headrace.api.tracking.v1.TrackingService", TrackingServiceStub)

    @property
    def ingest(self) -> IngestServiceStub:
        """Metrics by stream."""
        return self._stub("headrace.api.tracking.v1.IngestService", IngestServiceStub)

    @property
    def artifacts(self) -> ArtifactServiceStub:
        """Files of runs and models."""
        return self._stub("headrace.api.artifacts.v1.ArtifactService", ArtifactServiceStub)

    @property
    def registry(self) -> RegistryServiceStub:
        """Models, versions, aliases."""
        return self._stub("headrace.api.registry.v1.RegistryService", RegistryServiceStub)

    @property
    def webhooks(self) -> WebhookServiceStub:
        """Who is told over HTTP."""
        return self._stub("headrace.api.registry.v1.WebhookService", WebhookServiceStub)

    @property
    def deployments(self) -> DeploymentServiceStub:
        """What serves."""
        return self._stub("headrace.api.deployment.v1.DeploymentService", DeploymentServiceStub)

    @property
    def events(self) -> EventServiceStub:
        """Facts as they happen."""
        return self._stub("headrace.api.events.v1.EventService", EventServiceStub)

    @property
    def identity(self) -> IdentityServiceStub:
        """Tokens."""
        return self._stub("headrace.api.identity.v1.IdentityService", IdentityServiceStub)

    def check(self) -> None:
        """Finds the services; raises Unavailable where no Headrace answers. A grpc:// address is not asked anything."""
        self.patiently(lambda: self._address(""))

    def call(
        self,
        method: "Callable[[Connection], grpc.UnaryUnaryMultiCallable[Q, A]]",
        request: Q,
        *,
        again: bool = True,
        timeout_s: float = CALL_S,
    ) -> A:
        """The answer of a unary method, such as `call(lambda c: c.tracking.GetRun, request)`.

        `again` says that the request may be sent twice: a read, or a write that changes nothing the second time.
        Waits at most `timeout_s` for each attempt; attempts end as the policy says. Raises HeadraceError.
        """

        def attempt() -> A:
            try:
                answer = method(self)(request, timeout=timeout_s, metadata=self.metadata())
            except grpc.RpcError as error:
                raise self.failure(error) from None
            self._reached = True
            return answer

        return self.patiently(attempt) if again else attempt()

    def stream(
        self,
        method: "Callable[[Connection], grpc.UnaryStreamMultiCallable[Q, A]]",
        request: Q,
        *,
        timeout_s: float | None = None,
    ) -> Iterator[A]:
        """The answers of a method that streams, once; all within `timeout_s`, None for no limit. Close it, or read it to its end.

        Raises HeadraceError.
        """
        call = method(self)(request, timeout=timeout_s, metadata=self.metadata())
        try:
            for answer in call:
                self._reached = True
                yield answer
        except grpc.RpcError as error:
            raise self.failure(error) from None
        finally:
            call.cancel()

    def pages(
        self, method: "Callable[[Connection], grpc.UnaryUnaryMultiCallable[PageQ, PageA]]", request: PageQ
    ) -> Iterator[PageA]:
        """The answers of a method that lists, page after page, each asked for when it is needed."""
        while True:
            answer = self.call(method, request)
            yield answer
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def patiently(self, attempt: Callable[[], S]) -> S:
        """Tries again what may be done twice, as long as the policy allows."""
        return retry.call(attempt, patience_s=lambda: self.patience_s, policy=self.policy)

    @property
    def patience_s(self) -> float:
        """How long to try again now."""
        return self.policy.patience_s if self._reached else self.policy.first_patience_s

    @property
    def near(self) -> bool:
        """Whether the address is one of this machine itself."""
        return _is_loopback(self._parts.hostname)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call: the token, the workspace, and the trace under way if there is one."""
        token = (("authorization", f"Bearer {self._token}"),) if self._token else ()
        known = token if self.workspace == DEFAULT_WORKSPACE else (*token, ("x-headrace-workspace", self.workspace))
        traceparent = tracing.traceparent()
        return (*known, ("traceparent", traceparent)) if traceparent else known

    def failure(self, error: grpc.RpcError) -> errors.HeadraceError:
        """The typed error of a failed call. After a broken connection the services are looked for anew."""
        made = errors.from_rpc(error)
        if not isinstance(made, errors.Unavailable) or made.reason:
            self._reached = True
            return made
        with self._lock:
            self._stale = time.monotonic() - self._discovered_at > _FRESH_S
        return errors.Unavailable(f"{_nobody_at(self.uri)} ({made.message})")

    def close(self) -> None:
        """Closes the channels; a later call opens them again."""
        with self._lock:
            channels = tuple(self._channels.values())
            self._channels.clear()
            self._stubs.clear()
        for channel in channels:
            channel.close()

    def forked(self) -> None:
        """In a forked child: leaves the parent's channels alone and opens new ones with the first call."""
        forks.keep(self._channels, self._stubs)
        self._channels, self._stubs = {}, {}
        self._lock = threading.Lock()

    def _stub(self, service: str, kind: Callable[[grpc.Channel], S]) -> S:
        address = self._address(service)
        key = (address, kind)
        with self._lock:
            if key not in self._stubs:
                if address not in self._channels:
                    self._channels[address] = self._open(address)
                self._stubs[key] = kind(self._channels[address])  # type: ignore[index] # a stub class is the kind
            stub: S = self._stubs[key]  # type: ignore[index] # as above
            return stub

    def _address(self, service: str) -> str:
        if self._parts.scheme.startswith("grpc"):
            return self._parts.netloc
        with self._lock:
            if self._stale:
                self._addresses = _discover(self.uri, self._parts)
                self._reached = True
                self._discovered_at = time.monotonic()
                self._stale = False
            if service and service not in self._addresses:
                self._stale = True
                raise errors.Unavailable(f"{self.uri} does not say where {service} is; it may not be up yet")
            return self._addresses.get(service, "")

    def _open(self, address: str) -> grpc.Channel:
        agent = ("grpc.primary_user_agent", f"headrace-python/{version()}")
        proxy = ("grpc.enable_http_proxy", int(not _is_loopback(urlsplit(f"//{address}").hostname)))
        options = (*_OPTIONS, agent, proxy)
        if self._parts.scheme in {"https", "grpcs"}:
            return grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
        return grpc.insecure_channel(address, options)


def _checked(uri: str) -> SplitResult:
    parts = urlsplit(uri)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise errors.InvalidRequest(
            f"{uri!r} is no address of a Headrace: use http://host:port of its gateway, or grpc://host:port"
            " (HEADRACE_URI, or the argument of connect)"
        )
    if parts.scheme.startswith("grpc") and not parts.port:
        raise errors.InvalidRequest(f"{uri!r} lacks the port: grpc://host:port")
    return parts


def _workspace(name: str) -> str:
    if not _WORKSPACE.fullmatch(name or DEFAULT_WORKSPACE):
        raise errors.InvalidRequest(
            f'workspace: must be 2 to 63 lower-case letters, digits and "-", got {name!r:.80} (HEADRACE_WORKSPACE, or'
            " the argument of connect)"
        )
    return name or DEFAULT_WORKSPACE


def _discover(uri: str, parts: SplitResult) -> dict[str, str]:
    """Service → host:port, as the gateway says; an address without a host is on the gateway's."""
    request = urllib.request.Request(uri + WELL_KNOWN, headers={"accept": "application/json"})  # noqa: S310 - _checked saw to the scheme
    proxies = urllib.request.ProxyHandler({} if _is_loopback(parts.hostname) else None)
    try:
        with urllib.request.build_opener(proxies).open(request, timeout=_DISCOVERY_S) as response:
            found: object = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= 500:
                raise errors.Unavailable(f"{uri} is not ready yet (status {error.code})") from None
        raise errors.Unsupported(f"{uri} is not the gateway of a Headrace ({WELL_KNOWN}: {error.code})") from None
    except ValueError:
        raise errors.Unsupported(f"{uri} is not the gateway of a Headrace ({WELL_KNOWN} is not JSON)") from None
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise errors.Unavailable(f"{_nobody_at(uri)} ({reason})") from None
    services = found.get("grpc") if isinstance(found, Mapping) else None
    if not isinstance(services, Mapping):
        raise errors.Unsupported(f'{uri} is not the gateway of a Headrace ({WELL_KNOWN} has no "grpc")')
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return {str(name): f"{host}{at}" if str(at).startswith(":") else str(at) for name, at in services.items()}


def _nobody_at(uri: str) -> str:
    return f"no Headrace answers at {uri}: start one with `headrace up`, or set HEADRACE_URI to where it is"


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
