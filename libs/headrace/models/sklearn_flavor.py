"""The flavor `sklearn`: estimators, saved through skops; loaded also as MLflow pickles them, where code is allowed."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import skops.io

from headrace.models import objects
from headrace.models.errors import ModelFormatError, ModelNotAllowed
from headrace.models.mlmodel import file_in

NAME: Final = "sklearn"
_FILE: Final = "model.skops"
_PREDICT_FNS: Final = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
)


def save(estimator: Any, folder: Path, trusted_types: Collection[str], predict_fn: str) -> dict[str, Any]:
    """Writes the estimator and returns the fields of the flavor.

    Raises ModelNotAllowed for types that skops does not trust and `trusted_types` does not name.
    """
    if predict_fn not in _PREDICT_FNS or not hasattr(estimator, predict_fn):
        raise ValueError(f"predict_fn: must be one of {', '.join(_PREDICT_FNS)} that the model has, got {predict_fn!r}")
    data = skops.io.dumps(estimator)
    untrusted = skops.io.get_untrusted_types(data=data)
    unknown = sorted(set(untrusted) - set(trusted_types))
    if unknown:
        raise ModelNotAllowed(
            f"the model contains types that skops does not trust: {', '.join(unknown)}. Look at their code; then name"
            f" them in trusted_types=, and in {objects.SETTING} where the model is served"
        )
    (folder / _FILE).write_bytes(data)
    return {
        "pickled_model": _FILE,
        "serialization_format": "skops",
        "skops_trusted_types": sorted(untrusted) or None,
        "sklearn_version": _version(),
        "code": None,
    }


def load(
    folder: Path, fields: Mapping[str, Any], predict_fn: str, trusted_types: Collection[str], *, allow_code: bool
) -> Callable[[pd.DataFrame], Any]:
    """The estimator's prediction. Raises as `objects.load`."""
    if predict_fn not in _PREDICT_FNS:
        raise ModelFormatError(f"flavors.python_function.predict_fn: must be one of {', '.join(_PREDICT_FNS)}")
    file = file_in(folder, fields.get("pickled_model"), "flavors.sklearn.pickled_model")
    estimator = objects.load(file, fields, "flavors.sklearn", trusted_types, allow_code=allow_code)
    predict = getattr(estimator, predict_fn, None)
    if predict is None:
        raise ModelFormatError(f"{file.name} holds {type(estimator).__name__}, which has no {predict_fn}")
    return objects.of_frame(predict, named=hasattr(estimator, "feature_names_in_"))


def _version() -> str:
    import sklearn  # noqa: PLC0415 - skops has imported it already; only its version is wanted

    return str(sklearn.__version__)
