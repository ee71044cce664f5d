"""What all of MLflow's stores have in common: ids of experiments, states, latest metrics of models."""

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from headrace.api.tracking.v1 import tracking_pb2

RUN_STATES: Final = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
MODEL_STATES: Final = {1: "PENDING", 2: "READY", 3: "FAILED"}
DELETED_VERSION: Final = "Deleted_Internal"
"""The stage of a version that was deleted: its number is not given again."""
DEFAULT_WORKSPACE: Final = "default"
_NAMESPACE: Final = uuid.UUID("c1d2f0e9-5a55-4a52-9d2b-3c4c1c9a7f10")


@dataclass(frozen=True, slots=True)
class Choice:
    """What of an MLflow is wanted."""

    experiments: tuple[str, ...] = ()
    """Names; none means all."""
    files: bool = True
    workspace: str = DEFAULT_WORKSPACE
    connections: int = 8

    def takes(self, experiment: str) -> bool:
        """Whether it is wanted."""
        return not self.experiments or experiment in self.experiments


def experiment_key(experiment_id: str, create_ms: int | None) -> str:
    """A UUID that stands for an experiment whatever its name, by whichever way it is read; empty where it is too old for one."""
    return str(uuid.uuid5(_NAMESPACE, f"{experiment_id}/{create_ms}")) if create_ms else ""


def run_state(told: object) -> str:
    """By name or by number."""
    return RUN_STATES.get(told, "RUNNING") if isinstance(told, int) else str(told or "RUNNING")


def model_state(told: object) -> str:
    """By name (with MLflow's prefix or without) or by number."""
    if isinstance(told, int):
        return MODEL_STATES.get(told, "PENDING")
    name = str(told or "").rpartition(".")[2].removeprefix("LOGGED_MODEL_")
    return {"UPLOAD_FAILED": "FAILED"}.get(name, name) or "PENDING"


def latest(metrics: Iterable[tracking_pb2.ModelMetric]) -> tuple[tracking_pb2.ModelMetric, ...]:
    """Of each metric, dataset and run the latest by (step, time, value): what Headrace keeps of logged models."""
    found: dict[tuple[str, str, str, str], tracking_pb2.ModelMetric] = {}
    for one in metrics:
        series = (one.key, one.dataset_name, one.dataset_digest, one.run_id)
        known = found.get(series)
        if known is None or (known.step, known.time_ms, known.value) < (one.step, one.time_ms, one.value):
            found[series] = one
    return tuple(found.values())


def mark(*facts: object) -> str:
    """Another one for other facts."""
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def texts(entries: Mapping[object, object]) -> dict[str, str]:
    """Tags and params; what is NULL is empty."""
    return {str(key): "" if value is None else str(value) for key, value in entries.items()}
