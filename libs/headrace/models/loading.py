"""Loading models."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from headrace.models import by_mlflow, code
from headrace.models.errors import ModelFormatError
from headrace.models.frames import as_frame
from headrace.models.mlmodel import MlModel, folder_in
from headrace.models.signature import Signature

BOOSTERS: Final = ("xgboost", "lightgbm")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to predict, from any thread that its own code allows."""

    signature: Signature | None
    model_uuid: str
    flavor: str
    call: Callable[[pd.DataFrame], Any]
    """The model itself, without the check of its input."""

    def predict(self, data: Any) -> Any:
        """Predictions for rows: a frame or what makes one. Raises SchemaError where they do not fit the signature."""
        frame = as_frame(data)
        return self.call(frame if self.signature is None else self.signature.check(frame))


def load(folder: Path, *, allow_code: bool = False, trusted_types: Collection[str] = ()) -> LoadedModel:
    """Loads a saved model by the first flavor in it that is known here.

    `allow_code` lets models run code when they are loaded; `trusted_types` are accepted beside those that skops trusts.
    Raises ModelNotAllowed where one of the two is needed, ModelFormatError where the folder holds no model we know.
    """
    described = MlModel.read(folder)
    flavor, call = _loaded(folder, described.flavors, allow_code, trusted_types)
    return LoadedModel(described.signature, described.model_uuid, flavor, call)


def _loaded(
    folder: Path, flavors: Mapping[str, Mapping[str, Any]], allow_code: bool, trusted_types: Collection[str]
) -> tuple[str, Callable[[pd.DataFrame], Any]]:
    """The flavor and its prediction. Modules of flavors are imported here: each takes a second that others do without."""
    function = flavors.get("python_function", {})
    if "sklearn" in flavors:
        from headrace.models import sklearn_flavor  # noqa: PLC0415 - as said above

        fields = flavors["sklearn"]
        _import_from(folder, fields, allow_code)
        predict_fn = str(function.get("predict_fn", "predict"))
        call = sklearn_flavor.load(folder, fields, predict_fn, trusted_types, allow_code=allow_code)
        return sklearn_flavor.NAME, call
    for name in BOOSTERS:
        if name in flavors:
            from headrace.models import boosters  # noqa: PLC0415 - as said above

            _import_from(folder, flavors[name], allow_code)
            return name, boosters.load(name, folder, flavors[name], trusted_types, allow_code=allow_code)
    if isinstance(function.get("callable"), dict):
        from headrace.models import callable_flavor  # noqa: PLC0415 - as said above

        return "python_function", callable_flavor.load(folder, function["callable"], allow_code=allow_code)
    if loader := function.get("loader_module"):
        return "python_function", by_mlflow.load(folder, str(loader), allow_code=allow_code)
    raise ModelFormatError(
        f"MLmodel: none of its flavors ({', '.join(flavors) or 'none'}) can be loaded;"
        f" sklearn, {', '.join(BOOSTERS)} and python_function can"
    )


def _import_from(folder: Path, fields: Mapping[str, Any], allow_code: bool) -> None:
    """Lets Python find the modules that were logged with the model (MLflow's `code_paths`)."""
    if fields.get("code"):
        code.needed("this model brings Python modules of its own", allowed=allow_code)
        sys.path.insert(0, str(folder_in(folder, fields["code"], "code")))
