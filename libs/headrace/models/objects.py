"""Python objects in files: through skops, which builds only types that are trusted and runs no code, or pickled."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import cloudpickle
import pandas as pd

from headrace.models import code
from headrace.models.errors import ModelFormatError, ModelNotAllowed

SETTING: Final = "HEADRACE_TRUSTED_MODEL_TYPES"
PICKLES: Final = ("cloudpickle", "pickle")
T = TypeVar("T")


def load(file: Path, fields: Mapping[str, Any], where: str, trusted_types: Collection[str], *, allow_code: bool) -> Any:
    """The object; `fields` are those of the flavor, which `where` names, and say how it was saved.

    Types that skops does not trust must be recorded there, and be in `trusted_types`. Raises ModelNotAllowed for others,
    and for a pickle unless `allow_code`; ModelFormatError for what cannot be loaded.
    """
    form = fields.get("serialization_format")
    if form in PICKLES:
        code.needed(f"this model is a pickle ({form})", allowed=allow_code)
        return guarded(file, lambda: unpickled(file))
    if form != "skops":
        known = ", ".join(("skops", *PICKLES))
        raise ModelFormatError(
            f"{where}.serialization_format: must be one of {known}, got {form!r}; save it with skops"
        )
    recorded = frozenset(fields.get("skops_trusted_types") or ())
    return guarded(file, lambda: _built(file, recorded, frozenset(trusted_types)))


def guarded(file: Path, loading: Callable[[], T]) -> T:
    """What loading answers; ModelFormatError that names the file where it fails in any way of its own."""
    try:
        return loading()
    except (ModelFormatError, ModelNotAllowed):
        raise
    except Exception as error:
        raise ModelFormatError(f"{file.name} cannot be loaded: {type(error).__name__}: {error}") from error


def unpickled(file: Path) -> Any:
    """Runs whatever the file says."""
    with file.open("rb") as stream:
        return cloudpickle.load(stream)


def of_frame(predict: Callable[[Any], Any], *, named: bool) -> Callable[[pd.DataFrame], Any]:
    """Prediction for a frame: a model trained on a bare array would warn, or fail, for names that it does not know."""
    return lambda frame: predict(frame if named else frame.to_numpy())


def _built(file: Path, recorded: frozenset[str], accepted: frozenset[str]) -> Any:
    import skops.io  # noqa: PLC0415 - scikit-learn comes along, a second that pickles and boosters do without

    untrusted = skops.io.get_untrusted_types(file=file)
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
    return skops.io.load(file, trusted=list(untrusted))
