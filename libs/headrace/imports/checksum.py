"""Counts and checksums of rows, the same in whatever order the rows come: those of both sides are compared. No I/O."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.api.registry.v1 import registry_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.imports.points import Points

Kind: TypeAlias = Literal[
    "experiments",
    "runs",
    "params",
    "tags",
    "points",
    "datasets",
    "logged models",
    "models",
    "versions",
    "aliases",
    "files",
]
KINDS: Final[tuple[Kind, ...]] = Kind.__args__  # type: ignore[attr-defined] # of a Literal

_MODULUS: Final = 1 << 128


@dataclass(frozen=True, slots=True)
class Total:
    """Some rows."""

    count: int = 0
    checksum: int = 0
    """The sum of the rows' digests, 128 bits."""
    size: int = 0
    """Bytes, of files."""

    def __add__(self, other: "Total") -> "Total":
        return Total(self.count + other.count, (self.checksum + other.checksum) % _MODULUS, self.size + other.size)


Totals: TypeAlias = Mapping[Kind, Total]


def row(*fields: object) -> Total:
    """One row: text, numbers and None, each with its kind and length, so that no two rows look alike."""
    digest = hashlib.blake2b(digest_size=16)
    for value in fields:
        encoded = repr(value).encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return Total(1, int.from_bytes(digest.digest(), "big"))


def total(rows: Iterable[Total]) -> Total:
    """All together."""
    found = Total()
    for one in rows:
        found += one
    return found


def together(parts: Iterable[Totals]) -> dict[Kind, Total]:
    """All together, kind by kind."""
    found: dict[Kind, Total] = {}
    for part in parts:
        for kind, one in part.items():
            found[kind] = found.get(kind, Total()) + one
    return found


def of_points(run_id: str, key: str, points: Points) -> Total:
    """Points of one series."""
    seed = hashlib.blake2b(f"{run_id}/{key}".encode(), digest_size=16).digest()
    first, second = np.frombuffer(seed, np.uint64)
    mixed = _mix(points.values.view(np.uint64) ^ first)
    mixed = _mix(mixed + points.steps.view(np.uint64))
    mixed = _mix(mixed + points.times.view(np.uint64))
    low, high = int(mixed.sum(dtype=np.uint64)), int(_mix(mixed ^ second).sum(dtype=np.uint64))
    return Total(len(points), high << 64 | low)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the number changes about half of the bits (the finaliser of splitmix64, Steele et al. 2014)."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def of_experiment(message: tracking_pb2.Experiment) -> Totals:
    """An experiment and its tags."""
    known = row("experiment", message.experiment_id, message.name, message.lifecycle_stage, _ms(message, "create_time"))
    return {"experiments": known, "tags": _entries(f"experiment {message.experiment_id}", message.tags)}


def of_run(message: tracking_pb2.Run) -> Totals:
    """A run but for its points and files."""
    uses = [sorted((use.model_id, use.step) for use in used) for used in (message.input_models, message.output_models)]
    run = row(
        "run",
        message.run_id,
        message.experiment_id,
        message.name,
        message.user_id,
        message.state,
        message.lifecycle_stage,
        _ms(message, "start_time"),
        _ms(message, "end_time"),
        *uses,
    )
    return {
        "runs": run,
        "params": _entries(message.run_id, message.params),
        "tags": _entries(message.run_id, message.tags),
        "datasets": total(_input(message.run_id, one) for one in message.inputs),
    }


def of_model(message: tracking_pb2.LoggedModel) -> Totals:
    """A logged model but for its files."""
    metrics = sorted(
        (m.key, m.dataset_name, m.dataset_digest, m.run_id, repr(m.value), m.step, m.time_ms) for m in message.metrics
    )
    model = row(
        "logged model",
        message.model_id,
        message.experiment_id,
        message.run_id,
        message.name,
        message.model_type,
        message.state,
        message.state_message,
        message.user_id,
        message.lifecycle_stage,
        _ms(message, "create_time"),
        _ms(message, "update_time"),
        metrics,
    )
    return {
        "logged models": model,
        "params": _entries(message.model_id, message.params),
        "tags": _entries(message.model_id, message.tags),
    }


def of_registered(message: registry_pb2.Model) -> Totals:
    """A registered model with its aliases."""
    times = _ms(message, "create_time"), _ms(message, "update_time")
    return {
        "models": row("model", message.name, message.description, *times),
        "tags": _entries(f"model {message.name}", message.tags),
        "aliases": total(row("alias", message.name, *alias) for alias in message.aliases.items()),
    }


def of_version(message: registry_pb2.ModelVersion) -> Totals:
    """A version."""
    version = row(
        "version",
        message.model_name,
        message.version,
        message.model_id,
        message.run_id,
        message.description,
        message.user_id,
        message.source,
        message.run_link,
        message.stage,
        _ms(message, "create_time"),
        _ms(message, "update_time"),
    )
    return {"versions": version, "tags": _entries(f"{message.model_name} {message.version}", message.tags)}


def of_file(owner: str, path: str, size: int, sha256: bytes) -> Total:
    """A file."""
    return Total(1, row("file", owner, path, size, sha256).checksum, size)


def _entries(owner: str, entries: Mapping[str, str]) -> Total:
    return total(row(owner, key, value) for key, value in entries.items())


def _input(run_id: str, message: tracking_pb2.DatasetInput) -> Total:
    one = message.dataset
    contents = (one.name, one.digest, one.source_type, one.source, one.schema, one.profile)
    return row("dataset", run_id, *contents, sorted(message.tags.items()))


def _ms(message: object, name: str) -> int | None:
    if not message.HasField(name):  # type: ignore[attr-defined] # of any message
        return None
    time = getattr(message, name)
    return int(time.seconds) * 1000 + int(time.nanos) // 1_000_000
