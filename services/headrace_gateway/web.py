"""The gateway's HTTP server: routes, the check of Host and Origin, and uvicorn as a part of the process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace_kit import workspaces
from headrace_kit.auth import WORKSPACE
from headrace_kit.config import is_loopback

_WORKSPACE_OF_MLFLOW: Final = "x-mlflow-workspace"


async def body_of(request: Request, most: int) -> bytes | None:
    """The whole body; None where it has more than `most` bytes, of which no more are read."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            return None
        parts.append(part)
    return b"".join(parts)


def workspace_of(headers: Headers) -> str:
    """The workspace that a request names, by Headrace's header or MLflow's; the default one where it names none.

    Raises InvalidField for what can be no name.
    """
    for header in (WORKSPACE, _WORKSPACE_OF_MLFLOW):
        if name := headers.get(header, "").strip():
            return workspaces.checked(name, header)
    return workspaces.DEFAULT


class HostGuard:
    """Refuses what a foreign page or a rebound name sends (CVE-2025-14279 is of this kind).

    Host must be one of `hosts`, or a loopback name when there are none; "*" allows all. An Origin must be the Host itself.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request through or answers 403."""
        if scope["type"] == "http":
            refusal = self.refusal(Headers(scope=scope))
            if refusal:
                await PlainTextResponse(refusal + "\n", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def refusal(self, headers: Headers) -> str:
        """Why a request with these headers is refused; empty where it is not."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if "*" not in self._hosts and name not in self._hosts and not is_loopback(name):
            return f"Host {host!r} is not served here; name it in HEADRACE_ALLOWED_HOSTS"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return f"Origin {origin!r} may not use this server"
        return ""


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the runner of the process."""
        yield


class HttpFront:
    """uvicorn, started and drained by the runner."""

    def __init__(self, app: ASGIApp, listen: str, drain_seconds: float) -> None:
        self._listen = listen
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
        self._server = _Quiet(config)
        self._task: asyncio.Task[None] | None = None
        self.address = ""
        """Where it listens, once started."""

    async def start(self) -> None:
        """Listens. Raises OSError when the port is taken."""
        host, _, port = self._listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sends without Nagle's delay only where the protocol is named; with it, every answer takes 40 ms.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host.strip("[]"), int(port)))
        except OSError as error:
            sock.close()
            raise OSError(
                error.errno, f"cannot listen on {self._listen}: {error.strerror}; choose another port"
            ) from error
        self.address = f"{host}:{sock.getsockname()[1]}"
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has a flag, no event
            await asyncio.sleep(0.005)

    async def drain(self, seconds: float) -> None:
        """Takes no more requests and lets those under way end."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds + 1)
