"""How answers are printed: tables and lines for people, JSON for programs."""

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from headrace.tables import as_text, text_table

_ENDLESS: Final = 1_000_000  # a pipe has no width: `headrace runs list | grep` must see all columns


def width() -> int:
    """Characters in a line of the terminal."""
    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else _ENDLESS


def print_json(answer: object) -> None:
    """A record as an object, records as a list of them. NaN and infinities are strings, as JSON has no numbers for them."""
    print(json.dumps(_plain(answer), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> None:
    """An aligned table; `nothing` where it would be empty, which goes to stderr, as it is no answer."""
    if rows:
        print(text_table(columns, rows, width()))
    else:
        print(nothing, file=sys.stderr)


def print_fields(fields: Mapping[str, object]) -> None:
    """One field a line; a mapping is a block of its own, left out when empty."""
    simple = {name: value for name, value in fields.items() if not isinstance(value, Mapping)}
    longest = max(map(len, simple), default=0)
    for name, value in simple.items():
        print(f"{name + ':':<{longest + 2}}{as_text(value)}".rstrip())
    for name, block in fields.items():
        if isinstance(block, Mapping) and block:
            print(f"{name}:")
            longest = max(len(str(key)) for key in block)
            for key, value in block.items():
                print(f"  {key!s:<{longest}}  {as_text(value)}".rstrip())


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
