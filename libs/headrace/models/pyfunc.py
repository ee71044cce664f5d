"""What MLmodel names as `loader_module`: through it, any reader of the layout can call a model saved here."""

import os
from pathlib import Path

from headrace.models.loading import LoadedModel, load


def _load_pyfunc(path: str) -> LoadedModel:
    """The layout's protocol: the folder in, an object with `predict` out.

    The permissions come from the environment, by the names that a Headrace deployment uses for them.
    """
    types = os.environ.get("HEADRACE_TRUSTED_MODEL_TYPES", "")
    return load(
        Path(path),
        allow_code=os.environ.get("HEADRACE_ALLOW_MODEL_CODE", "").lower() in {"1", "true"},
        trusted_types=[name.strip() for name in types.split(",") if name.strip()],
    )
