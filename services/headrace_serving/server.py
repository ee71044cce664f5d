"""uvicorn around `Serving`: says when it listens, drains at a signal."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

import uvicorn
from typing_extensions import override

from headrace_serving.web import Serving

log = logging.getLogger(__name__)

_KEEP_ALIVE_S: Final = 75  # longer than the router keeps a connection: it is the router that closes


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()


def run(serving: Serving, sock: socket.socket, drain_seconds: int, ready: Callable[[str], None]) -> int:
    """Serves on the bound socket until SIGTERM or SIGINT; `ready` is told the address once it listens.

    Returns 0 when all requests were answered within `drain_seconds`; does not return where one was not, but ends the
    process with 1: a thread that predicts cannot be stopped.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    host, port = sock.getsockname()[:2]
    config = uvicorn.Config(
        serving.app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=drain_seconds,
    )
    # uvicorn raises the signal that stopped it once more when it is done; ignored, it leaves the exit code to us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _Server(config, lambda: ready(f"{host}:{port}")).run(sockets=[sock])
    if serving.under_way:
        log.error("%d requests did not end within %d s", serving.under_way, drain_seconds)
        os._exit(1)
    return 0
