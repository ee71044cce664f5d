"""Loading models."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headrace.models.errors import ModelFormatError
from headrace.models.frames import as_frame
from headrace.models.mlmodel import MlModel
from headrace.models.signature import Signature


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
    function = described.flavors.get("python_function", {})
    if "sklearn" in described.flavors:
        from headrace.models import sklearn_flavor  # noqa: PLC0415 - a second of import that callables do without

        predict_fn = str(function.get("predict_fn", "predict"))
        flavor, call = (
            sklearn_flavor.NAME,
            sklearn_flavor.load(folder, described.flavors[sklearn_flavor.NAME], predict_fn, trusted_types),
        )
    elif isinstance(function.get("callable"), dict):
        from headrace.models import callable_flavor  # noqa: PLC0415 - as above

        flavor, call = "python_function", callable_flavor.load(folder, function["callable"], allow_code=allow_code)
    else:
        raise ModelFormatError(
            f"MLmodel: none of its flavors ({', '.join(described.flavors) or 'none'}) can be loaded;"
            " sklearn and Headrace's own python_function can"
        )
    return LoadedModel(described.signature, described.model_uuid, flavor, call)
