"""What the client uses where it is installed, and does not bring."""

from importlib import import_module
from types import ModuleType
from typing import Any


def pandas() -> ModuleType:
    """The library. Raises ModuleNotFoundError that says how to get it."""
    try:
        import pandas  # noqa: PLC0415, ICN001 - a second of import, for those who ask for a frame
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; frames need it: pip install pandas", name=error.name) from None
    return pandas


def arrow() -> ModuleType:
    """As `pandas`, for pyarrow."""
    try:
        import pyarrow  # noqa: PLC0415, ICN001 - as above
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; Arrow tables need it: pip install pyarrow", name=error.name) from None
    module: ModuleType = pyarrow
    return module


def psutil() -> Any:
    """The library. Raises ModuleNotFoundError that says how to get it."""
    try:
        import psutil  # noqa: PLC0415 - for those who ask for system metrics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}; system metrics need it: pip install 'headrace[system]'", name=error.name
        ) from None
    return psutil


def nvml() -> Any | None:
    """The module pynvml, of nvidia-ml-py; None where it is not installed, as on machines without a GPU."""
    try:
        return import_module("pynvml")
    except ModuleNotFoundError:
        return None
