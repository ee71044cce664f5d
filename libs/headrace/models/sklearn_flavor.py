"""The flavor `sklearn`: estimators through skops, which builds only types that are trusted, and runs no code."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import skops.io

from headrace.models.errors import ModelFormatError, ModelNotAllowed
from headrace.models.mlmodel import file_in

NAME: Final = "sklearn"
SETTING: Final = "HEADRACE_TRUSTED_MODEL_TYPES"
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
            f" them in trusted_types=, and in {SETTING} where the model is served"
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
    folder: Path, fields: Mapping[str, Any], predict_fn: str, trusted_types: Collection[str]
) -> Callable[[pd.DataFrame], Any]:
    """The estimator's prediction. Types that skops does not trust must be recorded in MLmodel and be in `trusted_types`."""
    form = fields.get("serialization_format")
    if form != "skops":
        raise ModelFormatError(f"flavors.sklearn.serialization_format: must be skops, got {form!r}; save it with skops")
    if predict_fn not in _PREDICT_FNS:
        raise ModelFormatError(f"flavors.python_function.predict_fn: must be one of {', '.join(_PREDICT_FNS)}")
    file = file_in(folder, fields.get("pickled_model"), "flavors.sklearn.pickled_model")
    recorded = frozenset(fields.get("skops_trusted_types") or ())
    try:
        untrusted = skops.io.get_untrusted_types(file=file)
        _check_types(untrusted, recorded, frozenset(trusted_types))
        estimator = skops.io.load(file, trusted=list(untrusted))
    except ModelNotAllowed:
        raise
    except Exception as error:
        raise ModelFormatError(f"{file.name} cannot be loaded: {type(error).__name__}: {error}") from error
    predict = getattr(estimator, predict_fn)
    # Trained on a bare array, it would warn at every frame that it knows no names.
    named = hasattr(estimator, "feature_names_in_")
    return lambda frame: predict(frame if named else frame.to_numpy())


def _check_types(untrusted: Collection[str], recorded: frozenset[str], accepted: frozenset[str]) -> None:
    hidden = sorted(set(untrusted) - recorded)
    if hidden:
        raise ModelNotAllowed(
            f"the file contains types that its MLmodel does not name: {', '.join(hidden)}; it was changed after saving"
        )
    refused = sorted(set(untrusted) - accepted)
    if refused:
        raise ModelNotAllowed(
            f"the model contains types that skops does not trust: {', '.join(refused)}; if you do, name them in {SETTING}"
        )


def _version() -> str:
    import sklearn  # noqa: PLC0415 - skops has imported it already; only its version is wanted

    return str(sklearn.__version__)
