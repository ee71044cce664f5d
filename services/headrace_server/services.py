"""The services by name, imported when asked for."""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

from headrace_kit.config import ServiceConfig
from headrace_kit.lifecycle import Runner

NAMES: Final = ("identity", "tracking", "artifacts", "registry", "deployment", "events", "gateway")
"""In the order in which they start."""


class App(Protocol):
    """A service's `app` module."""

    Config: type[ServiceConfig]
    start: Callable[[Any, Runner], Awaitable[Any]]


def app(name: str) -> App:
    """The `app` module of a service."""
    if name not in NAMES:
        raise ValueError(f"no service {name!r}; there are {', '.join(NAMES)}")
    return cast("App", importlib.import_module(f"headrace_{name}.app"))
