"""The flavors `xgboost` and `lightgbm`, as MLflow writes them: the libraries' own files, which run no code.

An estimator of LightGBM has none, and comes through skops, or pickled.
"""

import importlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from headrace.models import objects
from headrace.models.errors import ModelFormatError
from headrace.models.mlmodel import file_in

_XGBOOST: Final = {
    f"xgboost.{module}": module.rpartition(".")[2]
    for module in ("core.Booster", *(f"sklearn.XGB{kind}" for kind in ("Classifier", "Regressor", "Ranker", "RFClassifier", "RFRegressor")))
}  # fmt: skip
"""`model_class` → name in the library."""
_LIGHTGBM_TYPES: Final = frozenset(
    {"collections.OrderedDict", "lightgbm.basic.Booster"} | {f"lightgbm.sklearn.LGBM{kind}" for kind in ("Classifier", "Regressor", "Ranker")}
)  # fmt: skip
"""What an estimator of LightGBM is made of. Its state is the text of a booster: to set it is to read a file of one."""


def load(
    name: str, folder: Path, fields: Mapping[str, Any], trusted_types: Collection[str], *, allow_code: bool
) -> Callable[[pd.DataFrame], Any]:
    """The model's prediction. Raises ModelFormatError also where the library is not installed; else as `objects.load`."""
    where = f"flavors.{name}"
    file = file_in(folder, fields.get("data"), f"{where}.data")
    library = _library(name)
    kind = fields.get("model_class", f"{name}.core.Booster")
    if name == "xgboost":
        if kind not in _XGBOOST:
            raise ModelFormatError(f"{where}.model_class: must be one of {', '.join(_XGBOOST)}; got {kind!r}")
        return objects.guarded(file, lambda: _xgboost(library, _XGBOOST[kind], file))
    if kind == "lightgbm.basic.Booster":
        booster = objects.guarded(file, lambda: library.Booster(model_file=str(file)))
        return objects.of_frame(booster.predict, named=True)
    accepted = _LIGHTGBM_TYPES.union(trusted_types)
    estimator = objects.load(file, fields, where, accepted, allow_code=allow_code)
    return objects.of_frame(estimator.predict, named=True)


def _xgboost(library: Any, kind: str, file: Path) -> Callable[[pd.DataFrame], Any]:
    model = getattr(library, kind)()
    model.load_model(str(file))
    booster = model if kind == "Booster" else model.get_booster()
    predict = (lambda rows: model.predict(library.DMatrix(rows))) if kind == "Booster" else model.predict
    return objects.of_frame(predict, named=booster.feature_names is not None)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModelFormatError(
            f"this is a model of {name}, which is not installed where it is loaded; install the version that its"
            f" requirements.txt names ({error})"
        ) from error
