"""Who receives webhooks: a real HTTP server that answers as it is told, and what it got."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from typing_extensions import override

WAIT_S: Final = 30.0
REACHABLE: Final = {"webhook_http": True, "webhook_networks": ("127.0.0.0/8",), "webhook_retry_seconds": 0.05}
"""Settings with which the registry delivers to a receiver here."""
REACHABLE_ENVIRON: Final = {
    "HEADRACE_WEBHOOK_HTTP": "true",
    "HEADRACE_WEBHOOK_NETWORKS": "127.0.0.0/8",
    "HEADRACE_WEBHOOK_RETRY_SECONDS": "0.05",
}


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def event(self) -> str:
        return f"{self.told['entity']}.{self.told['action']}"

    @property
    def delivery_id(self) -> str:
        return self.headers["X-MLflow-Delivery-Id"]

    def is_signed_with(self, secret: str) -> bool:
        """As a receiver checks it, by the description."""
        signed = f"{self.delivery_id}.{self.headers['X-MLflow-Timestamp']}.".encode() + self.body
        mac = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
        return hmac.compare_digest(self.headers["X-MLflow-Signature"], f"v1,{mac}")


Respond = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Receiver:
    """Answers 200 "thanks", after what `answers` holds."""

    port: int = 0
    answers: deque[Respond] = field(default_factory=deque)
    """What is done with the next requests, one each."""
    received: list[Received] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def wait(self, count: int, path: str = "") -> list[Received]:
        """Until so many requests came, of this path where one is named; all of them."""

        def found() -> list[Received]:
            return [one for one in self.received if not path or one.path == path]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, WAIT_S), f"{len(found())} of {count} came"
            return found()

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        with self._changed:
            self.received.append(Received(request.path, dict(request.headers), body))
            self._changed.notify_all()
            respond = self.answers.popleft() if self.answers else status(200, b"thanks")
        respond(request)


def status(code: int, body: bytes = b"", **headers: str) -> Respond:
    """Answers so."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return respond


def hanging(over: threading.Event) -> Respond:
    """Says nothing until it is over."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        over.wait(WAIT_S)

    return respond


@contextmanager
def receiving(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver as long as this lasts."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.take(self)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Not on stderr."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        @override
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A sender that goes away is what some tests are about."""

    with Server(("127.0.0.1", port), Handler) as server:
        if tls is not None:  # each connection's thread shakes hands, not the one that takes them all
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
