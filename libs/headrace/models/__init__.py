"""Models on disk, in MLflow's MLmodel layout: save, load, and the signature that requests are checked against.

Needs the extra `headrace[models]`; what is heavy (pandas, scikit-learn) is imported when a name of it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

from headrace.models.errors import ModelError, ModelFormatError, ModelNotAllowed, SchemaError
from headrace.models.signature import Column, Signature, Tensor

if TYPE_CHECKING:
    from headrace.models.frames import infer_signature
    from headrace.models.loading import LoadedModel, load
    from headrace.models.saving import save_callable, save_sklearn

__all__ = [
    "Column",
    "LoadedModel",
    "ModelError",
    "ModelFormatError",
    "ModelNotAllowed",
    "SchemaError",
    "Signature",
    "Tensor",
    "infer_signature",
    "load",
    "save_callable",
    "save_sklearn",
]

_HOMES: Final = {
    "infer_signature": "frames",
    "LoadedModel": "loading",
    "load": "loading",
    "save_callable": "saving",
    "save_sklearn": "saving",
}


def __getattr__(name: str) -> Any:
    """Imports the module of a heavy name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{error}; models need more than the light client: pip install "headrace[models]"', name=error.name
        ) from error
