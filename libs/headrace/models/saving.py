"""Saving models."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headrace.models import mlmodel
from headrace.models.errors import SchemaError
from headrace.models.frames import as_frame, infer_signature
from headrace.models.mlmodel import MlModel
from headrace.models.signature import Signature


def save_sklearn(
    model: Any,
    folder: Path,
    *,
    signature: Signature | None = None,
    input_example: Any = None,
    trusted_types: Collection[str] = (),
    predict_fn: str = "predict",
    requirements: Sequence[str] = (),
) -> MlModel:
    """Saves a fitted scikit-learn estimator through skops; returns what its MLmodel file says.

    Without a signature, it is inferred from the example and the predictions for it (which are left out where no schema describes them). Of the example, a frame or what
    makes one, the first five rows are kept. `trusted_types` are types inside the model that skops does not trust by
    itself, as "module.Class". Raises ModelNotAllowed for others, FileExistsError when the folder is not empty.
    """
    from headrace.models import sklearn_flavor  # noqa: PLC0415 - a second of import that callables do without

    mlmodel.new_folder(folder)
    fields = sklearn_flavor.save(model, folder, trusted_types, predict_fn)
    packages = ["headrace[models]", "scikit-learn", "skops", "numpy", "pandas"]
    mlmodel.write_environment(folder, packages, requirements)
    flavors = {sklearn_flavor.NAME: fields, "python_function": mlmodel.python_function(predict_fn=predict_fn)}
    return _write(folder, flavors, getattr(model, predict_fn), signature, input_example)


def save_callable(
    function: Callable[[pd.DataFrame], Any] | Path,
    folder: Path,
    *,
    signature: Signature | None = None,
    input_example: Any = None,
    requirements: Sequence[str] = (),
) -> MlModel:
    """Saves any function of a frame, through cloudpickle, or a Python file that defines `predict(frame)`.

    Loading it runs code, and so needs a permission (`load`). `requirements` are what the function imports, as pip
    takes them. The rest as in `save_sklearn`, but for a file the signature is not inferred.
    """
    from headrace.models import callable_flavor  # noqa: PLC0415 - as above

    mlmodel.new_folder(folder)
    fields = callable_flavor.save(function, folder)
    mlmodel.write_environment(folder, ["headrace[models]", "cloudpickle", "numpy", "pandas"], requirements)
    flavors = {"python_function": mlmodel.python_function(**fields)}
    return _write(folder, flavors, None if isinstance(function, Path) else function, signature, input_example)


def _write(
    folder: Path,
    flavors: dict[str, dict[str, Any]],
    predict: Callable[[Any], Any] | None,
    signature: Signature | None,
    example: Any,
) -> MlModel:
    info = None
    if example is not None:
        if signature is None and predict is not None:
            signature = _shown(example, predict(example))
        info = mlmodel.write_example(folder, as_frame(example))
    described = MlModel(flavors=flavors, signature=signature, saved_input_example_info=info)
    described.write(folder)
    return described


def _shown(example: Any, outputs: Any) -> Signature:
    """The signature without outputs where those are of no kind that a schema knows: a model may answer anything."""
    try:
        return infer_signature(example, outputs)
    except (SchemaError, TypeError, ValueError):
        return infer_signature(example)
