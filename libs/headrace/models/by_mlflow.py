"""Models that only MLflow can load: `python_function` with a loader of its own, such as a pickled PythonModel."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from headrace.models import code
from headrace.models.errors import ModelFormatError

_QUIET = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
"""A process that serves tells nobody that it does."""


def load(folder: Path, loader: str, *, allow_code: bool) -> Callable[[pd.DataFrame], Any]:
    """The model's prediction. Raises ModelNotAllowed unless `allow_code`, ModelFormatError where MLflow is not installed."""
    code.needed(f"this model is loaded by {loader}", allowed=allow_code)
    for name in _QUIET:
        os.environ.setdefault(name, "true")
    try:
        from mlflow import pyfunc  # noqa: PLC0415 - two seconds and more, for those models that need it
    except ModuleNotFoundError as error:
        raise ModelFormatError(
            f"this model is loaded by {loader}, and MLflow is not installed where it is loaded: pip install"
            f" 'headrace[mlflow]' there, and what the model's requirements.txt names ({error})"
        ) from error
    try:
        model = pyfunc.load_model(str(folder))
    except Exception as error:
        raise ModelFormatError(f"MLflow cannot load this model: {type(error).__name__}: {error}") from error
    predict: Callable[[pd.DataFrame], Any] = model.predict
    return predict
