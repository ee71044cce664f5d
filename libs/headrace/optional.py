"""What the client uses where it is installed, and does not bring."""

from collections.abc import Callable
from functools import partial
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


def zstd() -> Callable[[bytes], bytes] | None:
    """Compresses bytes at level 1, as a frame that says its size; None where neither Python nor a library can.

    Level 3 takes twice as long and saves next to nothing on columns of metrics.
    """
    try:
        library = import_module("zstandard")
    except ModuleNotFoundError:
        pass
    else:
        return library.ZstdCompressor(level=1).compress  # type: ignore[no-any-return] # a library of no types here
    try:
        return partial(import_module("compression.zstd").compress, level=1)  # Python 3.14
    except ModuleNotFoundError:
        return None
