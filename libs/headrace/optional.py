"""What the client uses where it is installed, and does not bring."""

from types import ModuleType


def pandas() -> ModuleType:
    """The library. Raises ModuleNotFoundError that says how to get it."""
    try:
        import pandas  # noqa: PLC0415, ICN001 - a second of import, for those who ask for a frame
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; frames need it: pip install pandas", name=error.name) from None
    return pandas
