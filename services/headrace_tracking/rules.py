"""What may happen to experiments, runs and models; pure: rows in, rows out, times are arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.errors import DomainError, InvalidField
from headrace_tracking import limits
from headrace_tracking.search.vocabulary import RUN_NAME_TAG
from headrace_tracking.store.experiments import ExperimentRow
from headrace_tracking.store.models import ModelRow
from headrace_tracking.store.runs import MADE, USED, RunRow

DEFAULT_EXPERIMENT: Final = 0
DEFAULT_EXPERIMENT_NAME: Final = "Default"
ENDED: Final = frozenset({"FINISHED", "FAILED", "KILLED"})
PENDING: Final = "PENDING"
Row = TypeVar("Row", RunRow, ModelRow)


@dataclass(frozen=True, slots=True)
class RunChange:
    """What UpdateRun is to change; None leaves a field as it is."""

    name: str | None = None
    state: str | None = None
    end_ms: int | None = None
    reset_end: bool = False
    """Forgets the end that the run has, before the rule for runs without one applies."""


def new_run_tags(name: str, tags: Mapping[str, str], fallback: str) -> dict[str, str]:
    """The tags of a new run, its name among them: the one given, or the tag's, or `fallback`.

    Raises InvalidField when name and tag differ.
    """
    tagged = tags.get(RUN_NAME_TAG)
    if name and tagged not in {None, name}:
        raise InvalidField("name", f"must be the same as the tag {RUN_NAME_TAG}, or empty; got {name!r} and {tagged!r}")
    chosen = fallback if not name and tagged is None else name or tagged or ""
    limits.text("name", chosen, limits.RUN_NAME, least=1)
    return {**tags, RUN_NAME_TAG: chosen}


def with_params(row: Row, params: Mapping[str, str]) -> Row:
    """A run or a logged model with these params too. Raises PARAM_CONFLICT for a param that has another value."""
    for key, value in params.items():
        present = row.params.get(key, value)
        if present != value:
            raise InvalidField(
                f"params[{key}]",
                f"a param keeps its value: it is {_short(present)}, got {_short(value)}. Use a tag for what changes",
                reason=error_reason_pb2.ERROR_REASON_PARAM_CONFLICT,
            )
    merged = {**row.params, **params}
    limits.document("params", merged)
    return replace(row, params=merged)


def with_models(run: RunRow, used: Mapping[str, int], made: Mapping[str, int]) -> RunRow:
    """Adds logged models that the run used and made."""
    known = run.models
    inputs, outputs = {**known.get(USED, {}), **used}, {**known.get(MADE, {}), **made}
    limits.count("models", [*inputs, *outputs], limits.MODELS_OF_RUN)
    return replace(run, models={name: uses for name, uses in ((USED, inputs), (MADE, outputs)) if uses})


def with_tags(run: RunRow, tags: Mapping[str, str]) -> RunRow:
    """Adds and changes tags; mlflow.runName renames the run."""
    if RUN_NAME_TAG in tags:
        limits.text(f"tags[{RUN_NAME_TAG}]", tags[RUN_NAME_TAG], limits.RUN_NAME, least=1)
    merged = {**run.tags, **tags}
    limits.document("tags", merged)
    return replace(run, tags=merged)


def without_tag(run: RunRow, key: str) -> RunRow:
    """Raises TAG_NOT_FOUND, and InvalidField for the run's name."""
    if key == RUN_NAME_TAG:
        raise InvalidField("key", f"{RUN_NAME_TAG} is the run's name and cannot be deleted; set it to another")
    return replace(run, tags=_without(run.tags, key, f"run {run.run_id.hex}"))


def updated(run: RunRow, change: RunChange, now_ms: int) -> RunRow:
    """A run that comes to its end without a time ends now; one that goes on has no end."""
    renamed = run if change.name is None else replace(run, tags={**run.tags, RUN_NAME_TAG: change.name})
    state = change.state or run.state
    end_ms = run.end_ms if state == run.state and not change.reset_end else None
    if end_ms is None and state in ENDED:
        end_ms = now_ms
    return replace(renamed, state=state, end_ms=end_ms if change.end_ms is None else change.end_ms)


def check_run_active(run_id: str, *, deleted: bool) -> None:
    """Raises NOT_ACTIVE."""
    if deleted:
        raise _not_active(f"run {run_id} is deleted; restore it before you write to it")


def check_experiment_active(experiment: ExperimentRow) -> None:
    """Raises NOT_ACTIVE."""
    if experiment.delete_ms is not None:
        raise _not_active(f"experiment {experiment.experiment_id} is deleted; restore it before you write to it")


def check_experiment_deleted(experiment: ExperimentRow) -> None:
    """Raises WRONG_STATE."""
    if experiment.delete_ms is None:
        raise DomainError(
            error_reason_pb2.ERROR_REASON_WRONG_STATE,
            f"experiment {experiment.experiment_id} is not deleted; there is nothing to restore",
        )


def experiment_with_tags(experiment: ExperimentRow, tags: Mapping[str, str], now_ms: int) -> ExperimentRow:
    """Adds and changes tags."""
    merged = {**experiment.tags, **tags}
    limits.document("tags", merged)
    return replace(experiment, tags=merged, update_ms=now_ms)


def experiment_without_tag(experiment: ExperimentRow, key: str, now_ms: int) -> ExperimentRow:
    """Raises TAG_NOT_FOUND."""
    tags = _without(experiment.tags, key, f"experiment {experiment.experiment_id}")
    return replace(experiment, tags=tags, update_ms=now_ms)


def model_with_params(model: ModelRow, params: Mapping[str, str], now_ms: int) -> ModelRow:
    """Raises PARAM_CONFLICT for a param that has another value."""
    changed = with_params(model, params)
    return model if changed == model else replace(changed, update_ms=now_ms)


def model_with_tags(model: ModelRow, tags: Mapping[str, str], now_ms: int) -> ModelRow:
    """Adds and changes tags."""
    merged = {**model.tags, **tags}
    limits.document("tags", merged)
    return model if merged == model.tags else replace(model, tags=merged, update_ms=now_ms)


def model_without_tag(model: ModelRow, key: str, now_ms: int) -> ModelRow:
    """Raises TAG_NOT_FOUND."""
    tags = _without(model.tags, key, f"logged model m-{model.model_id.hex}")
    return replace(model, tags=tags, update_ms=now_ms)


def finalized(model: ModelRow, state: str, message: str, now_ms: int) -> ModelRow:
    """The model itself when it is in this state already; raises WRONG_STATE when it came to another."""
    if model.state == state:
        return model
    if model.state != PENDING:
        raise DomainError(
            error_reason_pb2.ERROR_REASON_WRONG_STATE,
            f"model m-{model.model_id.hex} is {model.state} already and cannot become {state}; log a new one",
        )
    return replace(model, state=state, state_message=message, update_ms=now_ms)


def _without(tags: Mapping[str, str], key: str, owner: str) -> dict[str, str]:
    if key not in tags:
        raise DomainError(error_reason_pb2.ERROR_REASON_TAG_NOT_FOUND, f"{owner} has no tag {key[:250]!r}")
    return {name: value for name, value in tags.items() if name != key}


def _not_active(message: str) -> DomainError:
    return DomainError(error_reason_pb2.ERROR_REASON_NOT_ACTIVE, message)


def _short(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")
