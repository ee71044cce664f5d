"""The client that the functions of `headrace` use: the one place with a process-wide default."""

import threading
from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from headrace import forks
from headrace.ingest.settings import IngestSettings

if TYPE_CHECKING:
    from headrace.client import Client

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class _Default:
    """Holds the client; makes it when it is first asked for."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._lock = threading.Lock()
        forks.watch(self)

    def get(self) -> "Client":
        from headrace.client import Client  # noqa: PLC0415 - a client's parts offer their functions through this module

        with self._lock:
            if self._client is None:
                self._client = Client()
            return self._client

    def put(self, client: "Client") -> None:
        with self._lock:
            self._client = client

    def forked(self) -> None:
        self._lock = threading.Lock()


_default: Final = _Default()


def connect(uri: str = "", token: str = "", workspace: str = "", *, ingest: IngestSettings | None = None) -> "Client":
    """Makes a client, sees that a Headrace answers, and makes it the one that the functions of `headrace` use.

    `uri` is `http://host:port` of the gateway, or `grpc://host:port` of one address that serves all; where it is empty
    HEADRACE_URI says it, else it is http://127.0.0.1:8080. `token` likewise: HEADRACE_TOKEN, else none;
    and `workspace`: HEADRACE_WORKSPACE, else "default". With `https` and `grpcs`, all calls are encrypted. Without a call of `connect`, the first function called makes such a client.

    Raises Unavailable when nobody answers within 2 s, Unsupported when it is not a Headrace that answers.
    """
    from headrace.client import Client  # noqa: PLC0415 - as above

    client = Client(uri, token, workspace, ingest=ingest)
    client.connection.check()
    _default.put(client)
    return client


def default_client() -> "Client":
    """The client that the functions of `headrace` use. Does no I/O."""
    return _default.get()


def of_default(method: Callable[Concatenate[S, P], R], part: Callable[["Client"], S]) -> Callable[P, R]:
    """A function that calls this method on this part of the default client."""

    def function(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(part(_default.get()), *args, **kwargs)

    update_wrapper(function, method)
    described = signature(method)
    parameters = tuple(described.parameters.values())[1:]
    function.__signature__ = described.replace(parameters=parameters)  # type: ignore[attr-defined] # what help() shows
    return function
