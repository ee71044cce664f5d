"""Saves a model into a folder, stores the folder, and says that it is complete."""

import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import errors
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.artifacts import Artifacts
from headrace.connection import Connection
from headrace.records import LoggedModel

if TYPE_CHECKING:
    from headrace.models import Signature


@dataclass(frozen=True, slots=True)
class What:
    """What is said of a model beside its files."""

    name: str
    run_id: str
    experiment_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


def log_model(
    connection: Connection, model: Any, what: What, signature: "Signature | None", input_example: Any
) -> LoggedModel:
    """The contract of `ActiveRun.log_model`. Saves first, so that a model that cannot be saved is never announced."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as temporary:
        kind, folder = _saved(model, Path(temporary) / "model", signature, input_example)
        request = wire.CreateLoggedModelRequest(
            experiment_id=what.experiment_id,
            run_id=what.run_id,
            name=what.name,
            model_type=kind,
            params=what.params,
            tags=what.tags,
            model_id=f"m-{uuid.uuid4().hex}",  # the client's choice, so that it may be sent again
        )
        model_id = connection.call(lambda c: c.tracking.CreateLoggedModel, request).model.model_id
        try:
            Artifacts(connection).upload_folder(model_id, folder)
        except BaseException as error:
            _give_up(connection, model_id, error)
            raise
    return _finalize(connection, model_id, tracking_pb2.LoggedModel.STATE_READY)


def _saved(model: Any, folder: Path, signature: "Signature | None", input_example: Any) -> tuple[str, Path]:
    """The kind of the model, and the folder that it is in now."""
    if isinstance(model, str | Path) and (Path(model) / "MLmodel").is_file():
        return "python_function", Path(model)
    from headrace.models import save_callable, save_sklearn  # noqa: PLC0415 - needs more than the light client

    if isinstance(model, str | Path):
        path = Path(model)
        if path.suffix != ".py" or not path.is_file():
            raise TypeError(f"{path} is neither a folder with an MLmodel file nor a Python file")
        save_callable(path, folder, signature=signature, input_example=input_example)
        return "python_function", folder
    sklearn = sys.modules.get("sklearn.base")  # an estimator's class has imported it
    if sklearn is not None and isinstance(model, sklearn.BaseEstimator):
        save_sklearn(model, folder, signature=signature, input_example=input_example)
        return "sklearn", folder
    if callable(model):
        save_callable(model, folder, signature=signature, input_example=input_example)
        return "python_function", folder
    raise TypeError(
        f"a {type(model).__name__} cannot be logged as a model: give a scikit-learn estimator, a function of a frame,"
        " a Python file that defines predict(frame), or a folder with an MLmodel file"
    )


def _give_up(connection: Connection, model_id: str, error: BaseException) -> None:
    """Says that the model is not complete; that this fails too must not hide why."""
    message = f"its files were not stored: {error!s:.500}"
    try:
        _finalize(connection, model_id, tracking_pb2.LoggedModel.STATE_FAILED, message)
    except errors.HeadraceError as second:
        error.add_note(f"logged model {model_id} stays PENDING: {second}")


def _finalize(
    connection: Connection, model_id: str, state: tracking_pb2.LoggedModel.State, message: str = ""
) -> LoggedModel:
    request = wire.FinalizeLoggedModelRequest(model_id=model_id, state=state, state_message=message)
    return LoggedModel.of(connection.call(lambda c: c.tracking.FinalizeLoggedModel, request).model)
