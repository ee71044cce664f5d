"""What was read of a source before, so that what has not changed since need not be read again.

A help, and no more: without it everything is read and compared again. What Headrace has is read back all the same.
"""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Final

from headrace.imports.checksum import Total, Totals

_LAYOUT: Final = 1


class Seen:
    """Things with the mark they had, and what the source had of them. Kept in a file where one is named. For any number of threads."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._things: dict[str, tuple[str, Totals]] = {} if file is None else _read(file)

    def totals(self, thing: str, mark: str) -> Totals | None:
        """What the source has of it, if it has this mark still."""
        known = self._things.get(thing)
        return known[1] if mark and known is not None and known[0] == mark else None

    def add(self, thing: str, mark: str, totals: Totals) -> None:
        """Remembers it; without a mark it is forgotten."""
        with self._lock:
            if mark:
                self._things[thing] = (mark, totals)
            else:
                self._things.pop(thing, None)

    def save(self) -> None:
        """Writes the file anew; that it cannot be written does no harm."""
        if self._file is None:
            return
        with self._lock:
            told = {
                thing: [mark, {kind: [one.count, f"{one.checksum:x}", one.size] for kind, one in totals.items()}]
                for thing, (mark, totals) in self._things.items()
            }
        part = self._file.with_name(f"{self._file.name}.{os.getpid()}.part")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"layout": _LAYOUT, "things": told}), "utf-8")
            part.replace(self._file)
        except OSError:
            part.unlink(missing_ok=True)


def place(source: str, target: str) -> Path:
    """Where what is seen on the way from a source to a Headrace is kept: HEADRACE_STATE, or ~/.local/state/headrace."""
    root = os.environ.get("HEADRACE_STATE") or Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state", "headrace")
    name = hashlib.sha256(f"{source}\n{target}".encode()).hexdigest()[:32]
    return Path(root).expanduser() / "imports" / f"{name}.json"


def _read(file: Path) -> dict[str, tuple[str, Totals]]:
    try:
        found = json.loads(file.read_text("utf-8"))
        if found["layout"] != _LAYOUT:
            return {}
        return {
            thing: (mark, {kind: Total(count, int(sum_, 16), size) for kind, (count, sum_, size) in totals.items()})
            for thing, (mark, totals) in found["things"].items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
