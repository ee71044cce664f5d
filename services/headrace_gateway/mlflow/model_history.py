"""runs/log-model: what clients before MLflow 3 say of a model whose files they have put into a run."""

import json
from collections.abc import Mapping
from typing import Any, Final

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_gateway.mlflow import failures, runs
from headrace_gateway.mlflow.calls import Calls
from headrace_gateway.mlflow.wire import Answer, Request, Text

TAG: Final = "mlflow.log-model.history"
_NEEDED: Final = ("artifact_path", "flavors", "utc_time_created", "run_id")
_KEPT: Final = ("run_id", "artifact_path", "utc_time_created", "model_uuid")


class LogModel(Request):
    """runs/log-model."""

    run_id: Text
    model_json: Text


async def log_model(calls: Calls, request: LogModel) -> Answer:
    """Adds the model to the history in the run's tag; of two calls at the same time one may be missing there, as in MLflow."""
    entry = _entry(request.model_json)
    run = runs.run_id(request.run_id)
    found = await runs.on_run(calls, run, calls.to.tracking.GetRun, pb.GetRunRequest(run_id=run))
    tags = {TAG: _history(found.run.tags.get(TAG, "[]"), entry)}
    await runs.on_run(calls, run, calls.to.tracking.SetRunTags, pb.SetRunTagsRequest(run_id=run, tags=tags))
    return {}


def _entry(text: str) -> dict[str, Any]:
    try:
        model = json.loads(text)
    except (ValueError, RecursionError):
        raise failures.invalid(f"Malformed model info. \n {text[:1000]} \n is not a valid JSON.") from None
    if not isinstance(model, dict) or not isinstance(model.get("flavors", {}), dict):
        raise failures.invalid("Malformed model info: it must be a JSON object, and its flavors too.")
    missing = {name for name in _NEEDED if name not in model}
    if missing:
        raise failures.invalid(f"Model json is missing mandatory fields: {missing}")
    return {
        **{name: model.get(name) for name in _KEPT},
        "flavors": {name: _without_config(flavor) for name, flavor in model["flavors"].items()},
    }


def _without_config(flavor: Any) -> Any:
    if not isinstance(flavor, Mapping):
        return flavor
    return {name: value for name, value in flavor.items() if name != "config"}


def _history(before: str, entry: Mapping[str, Any]) -> str:
    """The newest of all entries, as many as the tag holds. Raises Failure where the tag holds no history."""
    try:
        entries = json.loads(before)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise failures.invalid(f"The run's tag {TAG} is not a JSON list: delete it, and log the model again.")
    entries.append(entry)
    while len(text := json.dumps(entries)) > runs.TAG_VALUE and len(entries) > 1:
        del entries[0]
    return text
