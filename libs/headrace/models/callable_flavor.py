"""Any Python callable as a model: pickled by cloudpickle, or as the source file that defines it. Both run code."""

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import cloudpickle
import pandas as pd

from headrace.models import code, objects
from headrace.models.errors import ModelFormatError
from headrace.models.mlmodel import file_in

FIELD: Final = "callable"
_PICKLE: Final = "model.pkl"
_SOURCE: Final = "model.py"
_FUNCTION: Final = "predict"

Predict = Callable[[pd.DataFrame], Any]


def save(function: Predict | Path, folder: Path) -> dict[str, Any]:
    """Writes it and returns the fields that `load` goes by."""
    if isinstance(function, Path):
        shutil.copyfile(function, folder / _SOURCE)
        return {FIELD: {"format": "code", "file": _SOURCE}}
    with (folder / _PICKLE).open("wb") as file:
        cloudpickle.dump(function, file)
    version = metadata.version("cloudpickle")
    return {FIELD: {"format": "cloudpickle", "file": _PICKLE}, "cloudpickle_version": version}


def load(folder: Path, fields: Mapping[str, Any], *, allow_code: bool) -> Predict:
    """The callable. Raises ModelNotAllowed unless `allow_code`: to load it is to run what is in the file."""
    form = fields.get("format")
    if form not in {"cloudpickle", "code"}:
        raise ModelFormatError(f"flavors.python_function.callable.format: must be cloudpickle or code, got {form!r}")
    file = file_in(folder, fields.get("file"), "flavors.python_function.callable.file")
    code.needed(f"this model is a Python callable ({form})", allowed=allow_code)
    return objects.guarded(file, lambda: _unpickled(file) if form == "cloudpickle" else source(file))


def _unpickled(file: Path) -> Predict:
    function = objects.unpickled(file)
    if not callable(function):
        raise ModelFormatError(f"{file.name} holds {type(function).__name__}, which cannot be called")
    return function  # type: ignore[no-any-return] # whatever it is, it can be called


def source(file: Path) -> Predict:
    """Runs a source file and returns its function `predict`."""
    spec = importlib.util.spec_from_file_location("headrace_model", file)
    if spec is None or spec.loader is None:
        raise ModelFormatError(f"{file.name} is no Python source file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, _FUNCTION, None)
    if not callable(function):
        raise ModelFormatError(f"{file.name} must define a function {_FUNCTION}(frame)")
    return function  # type: ignore[no-any-return] # as above
