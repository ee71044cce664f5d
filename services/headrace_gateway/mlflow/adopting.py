"""Which logged model a version is made of: the one named, or a new one with the files of a run.

In MLflow a version may point into a run's files, which somebody may change later. Here it gets a model of its own with
these files: what was registered stays what it was, and can be deployed like any other.
"""

import re
from typing import Final
from urllib.parse import unquote

from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.registry.v1 import registry_service_pb2
from headrace.api.tracking.v1 import tracking_pb2, tracking_service_pb2
from headrace_gateway.mlflow import artifacts, failures, runs
from headrace_gateway.mlflow.artifacts import Place
from headrace_gateway.mlflow.calls import Calls
from headrace_gateway.mlflow.failures import Failure

_MODEL_ID: Final = re.compile(r"models:/(m-[0-9a-f]{32})(?:/.*)?")
_OF_VERSION: Final = re.compile(r"models:/(?P<name>[^/@:]+)(?:/(?P<version>[0-9]{1,9})|@(?P<alias>[\w\-]+))")
_OF_RUN: Final = re.compile(r"runs:/(?P<run>[0-9a-f]{32})(?:/(?P<path>.*))?")
_IN_STORE: Final = re.compile(r"mlflow-artifacts:/+(?P<path>.+)")
_LOCAL: Final = re.compile(r"(?:file:|/|[A-Za-z]:\\|\.).*")
_NAME_REFUSED: Final = re.compile(r"[/:.%\"']")


async def logged_model(calls: Calls, source: str, model_id: str) -> str:
    """The id of the logged model; empty for a source that is not in Headrace. Raises Failure."""
    _check(source)
    if named := _MODEL_ID.fullmatch(source):
        if model_id not in {"", named[1]}:
            raise failures.invalid(f"Invalid model version source: '{source}' is not of the model {model_id}.")
        return named[1]
    if model_id:
        return model_id
    if of_version := _OF_VERSION.fullmatch(source):
        return await _of_version(calls, of_version)
    if of_run := _OF_RUN.fullmatch(source):
        place = Place(artifacts_pb2.Owner(run_id=of_run["run"]), artifacts.safe(of_run["path"] or ""))
        return await _adopted(calls, place)
    if in_store := _IN_STORE.fullmatch(source):
        place = artifacts.place(calls, in_store["path"])
        return place.owner.model_id or await _adopted(calls, place)
    return ""


def _check(source: str) -> None:
    decoded = unquote(unquote(source))
    if ".." in decoded.replace("\\", "/").split("/"):
        raise failures.invalid(f"Invalid model version source: '{source[:500]}'. It must not contain '..'.")
    if _LOCAL.fullmatch(source):
        raise failures.invalid(
            f"Invalid model version source: '{source[:500]}'. To use a local path as a model version source, it must lie"
            " in the artifacts of the run, and here these are not on a disk of the client's."
        )


async def _of_version(calls: Calls, named: re.Match[str]) -> str:
    request = registry_service_pb2.GetModelVersionRequest(model_name=named["name"])
    if named["version"]:
        request.version = int(named["version"])
    else:
        request.alias = named["alias"]
    return (await calls(calls.to.registry.GetModelVersion, request)).version.model_id


async def _adopted(calls: Calls, place: Place) -> str:
    """A new logged model with the files below the place, READY."""
    run = place.owner.run_id
    files = await artifacts.below(calls, place)
    if not files:
        raise failures.absent(f"Run with id={run} has no artifacts at '{place.path}': log the model first.")
    name = _NAME_REFUSED.sub("_", place.path.rpartition("/")[2])
    made = tracking_service_pb2.CreateLoggedModelRequest(run_id=run, name=name)
    model = (await runs.on_run(calls, run, calls.to.tracking.CreateLoggedModel, made)).model
    final = tracking_service_pb2.FinalizeLoggedModelRequest(model_id=model.model_id)
    final.state = tracking_pb2.LoggedModel.STATE_READY
    try:
        for file in files:
            path = file.path.removeprefix(place.path).lstrip("/") or file.path.rpartition("/")[2]
            await artifacts.copy(calls, file, Place(artifacts_pb2.Owner(model_id=model.model_id), path))
    except Failure as failure:
        final.state = tracking_pb2.LoggedModel.STATE_FAILED
        final.state_message = f"its files could not be copied: {failure.message}"
        raise
    finally:
        await calls(calls.to.tracking.FinalizeLoggedModel, final)
    return model.model_id
