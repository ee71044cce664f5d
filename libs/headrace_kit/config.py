"""Settings from the environment: every one works when absent, wrong ones are all told at once, at start.

A service's settings are a frozen dataclass derived from `ServiceConfig`; the field `max_bytes` is read from
`HEADRACE_MAX_BYTES`. Fields are made by `setting(default, "what it means")`.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

PREFIX: Final = "HEADRACE_"
C = TypeVar("C", bound="ServiceConfig")


class ConfigError(Exception):
    """Settings that cannot be used; the message lists all of them, a line each."""


def setting(default: Any, doc: str, *, secret: bool = False) -> Any:
    """A field of a settings dataclass."""
    return dataclasses.field(default=default, repr=not secret, metadata={"doc": doc, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What every service reads."""

    listen: str = setting("127.0.0.1:0", "Address of the gRPC server, host:port; port 0 takes a free one.")
    database: str = setting("postgresql://localhost/headrace", "PostgreSQL, as a URI or DSN.", secret=True)
    database_connections: int = setting(8, "Most connections a service holds for requests.")
    kafka: str = setting("", "Kafka, host:port[,host:port]; empty keeps the bus in PostgreSQL.")
    kafka_replication: int = setting(1, "Copies of each topic's partitions; 3 or more survives the loss of a machine.")
    auth: Literal["token", "open"] = setting(
        "token", 'How callers are known: "token", or "open" for one default tenant, on loopback only.'
    )
    service_secret: str = setting("", "Shared by the services of one installation; proves one to another.", secret=True)
    tracking: str = setting("127.0.0.1:7101", "Where the tracking service answers.")
    artifacts: str = setting("127.0.0.1:7102", "Where the artifacts service answers.")
    registry: str = setting("127.0.0.1:7103", "Where the registry service answers.")
    deployment: str = setting("127.0.0.1:7104", "Where the deployment service answers.")
    identity: str = setting("127.0.0.1:7105", "Where the identity service answers.")
    events: str = setting("127.0.0.1:7106", "Where the event service answers.")
    drain_seconds: float = setting(10.0, "How long calls under way may take to end at shutdown.")

    def problems(self) -> list[str]:
        """What cannot be used, each as "setting: what is wrong"; subclasses add theirs."""
        found: list[str] = []
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            found.append(f"listen: must be host:port, got {self.listen!r}")
        elif self.auth == "open" and not is_loopback(host):
            found.append(f'auth: "open" is for loopback only, and listen is {self.listen!r}; use "token"')
        if self.database_connections < 1:
            found.append(f"database_connections: must be at least 1, got {self.database_connections}")
        if not self.service_secret:
            found.append("service_secret: must be set, the same for all services of the installation")
        return found


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    return host.strip("[]") in {"localhost", "::1"} or host.startswith("127.")


def load(kind: type[C], environ: Mapping[str, str]) -> C:
    """The settings of `kind`, checked. Raises ConfigError listing everything wrong."""
    values, wrong = _read(kind, environ)
    return checked(kind(**values), wrong)


def read(kind: type[C], environ: Mapping[str, str]) -> C:
    """As `load`, but only what cannot be read is an error; for settings that are still to be completed."""
    values, wrong = _read(kind, environ)
    if wrong:
        raise ConfigError(_told(wrong))
    return kind(**values)


def checked(config: C, wrong: list[str] | None = None) -> C:
    """The settings themselves, when nothing is wrong with them; else ConfigError."""
    wrong = [*(wrong or []), *config.problems()]
    if wrong:
        raise ConfigError(_told(wrong))
    return config


def describe(kind: type[ServiceConfig]) -> list[tuple[str, str, str]]:
    """Name in the environment, default and meaning of every setting."""
    return [
        (PREFIX + f.name.upper(), "" if f.default is None else str(f.default), f.metadata["doc"])
        for f in dataclasses.fields(kind)
    ]


def _read(kind: type[ServiceConfig], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    wrong: list[str] = []
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        text = environ.get(PREFIX + field.name.upper())
        if text is None:
            continue
        try:
            values[field.name] = _parse(hints[field.name], text)
        except ValueError as error:
            wrong.append(f"{field.name}: {error}")
    return values, wrong


def _told(wrong: list[str]) -> str:
    lines = [f"  {PREFIX}{line.partition(':')[0].upper()}:{line.partition(':')[2]}" for line in wrong]
    return "settings that cannot be used:\n" + "\n".join(lines)


def _parse(kind: Any, text: str) -> Any:
    if typing.get_origin(kind) is types.UnionType:
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is Literal:
        options = typing.get_args(kind)
        if text not in options:
            raise ValueError(f"must be one of {', '.join(options)}, got {text!r}")
        return text
    if typing.get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return _PARSERS[kind](text)


def _bool(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"must be true or false, got {text!r}")
    return text.lower() in {"true", "1"}


def _number(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be {'a whole' if kind is int else 'a'} number, got {text!r}") from None

    return parse


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _number(int),
    float: _number(float),
    bool: _bool,
    Path: Path,
}
