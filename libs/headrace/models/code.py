"""Leave for models that run code when they are loaded."""

from typing import Final

from headrace.models.errors import ModelNotAllowed

SETTING: Final = "HEADRACE_ALLOW_MODEL_CODE"


def needed(what: str, *, allowed: bool) -> None:
    """Raises ModelNotAllowed unless it is allowed; `what` says what about the model needs it."""
    if not allowed:
        raise ModelNotAllowed(
            f"{what}, and loading it runs its code; where you trust who made it,"
            f" set {SETTING}=true (in Python: load(folder, allow_code=True)), or save the model in a safe flavor"
        )
