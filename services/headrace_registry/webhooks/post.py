"""One POST to an address that others chose.

The host is resolved once, and the connection is made to an address that was checked: a name that means something else a
moment later leads nowhere else. Redirects are not followed, proxies of the environment not used, and of the answer the
first bytes are read. Everything together has a limit in time, but for the look-up of the name, which has the resolver's own.
"""

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from typing_extensions import Buffer, override

from headrace_registry.webhooks import addresses
from headrace_registry.webhooks.rules import Reach

MOST_BODY_BYTES: Final = 16 << 10
_CONNECT_S: Final = 10.0  # to one address, of which a name may have several
_SLICE: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said."""

    status: int
    body: bytes
    """The first `MOST_BODY_BYTES`."""
    retry_after: str
    """The header, as it came."""


class OutOfReach(Exception):  # noqa: N818 - says what it is
    """The address is none that deliveries may be sent to; the message says why."""


class NoAnswer(Exception):  # noqa: N818 - says what it is
    """Nobody answered in HTTP, in time; the message says what happened, and nothing of the address."""


Resolve = Callable[[str, int], list[Any]]


def _resolve(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Poster:
    """Posts from any thread, one connection each time. After `abort` it posts no more."""

    def __init__(
        self, reach: Reach, *, timeout_s: float, resolve: Resolve = _resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        self._reach = reach
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._tls = tls or ssl.create_default_context()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._aborted = False

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status. Raises OutOfReach and NoAnswer."""
        try:
            return self._post(url, body, headers)
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:300]) from error
        except HTTPException as error:  # whose texts may quote what was sent
            raise NoAnswer(f"the answer is not HTTP ({type(error).__name__})") from error

    def abort(self) -> None:
        """Ends what is under way: it raises NoAnswer. From any thread."""
        with self._lock:
            self._aborted = True
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        if not secure and not self._reach.http:
            raise OutOfReach("deliveries go to https addresses alone")
        host = parts.hostname or ""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        until = time.monotonic() + self._timeout_s
        with self._connected(host, parts.port or (443 if secure else 80), until) as plain:
            plain.settimeout(_left(until))
            with closing(self._tls.wrap_socket(plain, server_hostname=host) if secure else plain) as sock:
                return _exchange(_Timed(sock, until), target, body, {**headers, "Host": parts.netloc})

    @contextmanager
    def _connected(self, host: str, port: int, until: float) -> Iterator[socket.socket]:
        """A connection to one of the host's addresses, of those that may be reached."""
        refused, failure = "", None
        for family, kind, protocol, _, address in self._resolve(host, port):
            if not addresses.may_reach(address[0], self._reach.networks):
                refused = f"{host} has no address that is of the public internet, or of a network that is allowed"
                continue
            with closing(socket.socket(family, kind, protocol)) as sock, self._abortable(sock):
                try:
                    sock.settimeout(min(_left(until), _CONNECT_S))
                    sock.connect(address)
                except OSError as error:
                    failure = error
                    continue
                yield sock
                return
        raise failure or OutOfReach(refused or f"{host} has no address")

    @contextmanager
    def _abortable(self, sock: socket.socket) -> Iterator[None]:
        """As long as this lasts, `abort` ends the connection, by another handle of it: TLS takes the first one over."""
        with closing(sock.dup()) as handle:
            with self._lock:
                if self._aborted:
                    raise ConnectionAbortedError("this process stops")
                self._open.add(handle)
            try:
                yield
            finally:
                with self._lock:
                    self._open.discard(handle)


class _Timed:
    """A socket as `HTTPConnection` uses it, whose every step has what is left of the time."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def sendall(self, data: Buffer) -> None:
        """Raises TimeoutError."""
        view = memoryview(data)
        for start in range(0, len(view), _SLICE):
            self._sock.settimeout(_left(self._until))
            self._sock.sendall(view[start : start + _SLICE])

    def makefile(self, mode: str) -> io.BufferedReader:
        """For reading."""
        del mode
        return io.BufferedReader(_Reading(self._sock, self._until))

    def close(self) -> None:
        """Whoever opened the socket closes it."""


class _Reading(io.RawIOBase):
    def __init__(self, sock: socket.socket, until: float) -> None:
        super().__init__()
        self._sock = sock
        self._until = until

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        self._sock.settimeout(_left(self._until))
        return self._sock.recv_into(buffer)


def _exchange(sock: _Timed, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    connection: Any = HTTPConnection("receiver")
    connection.auto_open = 0  # it connects nowhere by itself
    connection.sock = sock
    connection.request("POST", target, body, headers)
    with connection.getresponse() as response:
        said = b""
        with suppress(OSError, HTTPException):  # the status is known: what becomes of the rest does not matter
            said = response.read(MOST_BODY_BYTES)
        return Answer(response.status, said, response.getheader("retry-after", ""))


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
