"""Fits what other trackers take into what a Headrace takes: spellings of names, lengths of texts."""

import io
import posixpath
import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from headrace.imports.source import SourceFile

MOST_KEY: Final = 250
MOST_PATH: Final = 500
"""Characters; a server takes 1,000 of them, and 2,000 bytes."""
_ROOM: Final = 8  # for the number of a name that would be another's
MOST_PARAM: Final = 6_000
MOST_TAG: Final = 8_000
_DRIVE: Final = re.compile("[A-Za-z]:")
_REFUSED: Final = re.compile(r"[^\w.\- :/]")


class Names:
    """One spelling for each name, its own where that is possible; two names never share one.

    The first to come has the better spelling, so a source that only grows is always spelled alike.
    """

    def __init__(self, fit: Callable[[str], str]) -> None:
        self._fit = fit
        self._spelled: dict[str, str] = {}
        self._taken: set[str] = set()

    def __call__(self, name: str) -> str:
        """Its spelling."""
        if name not in self._spelled:
            self._spelled[name] = self.new(name)
        return self._spelled[name]

    def new(self, name: str) -> str:
        """A spelling that was not given yet, to the same name either."""
        spelling = fitting = self._fit(name)
        number = 1
        while spelling in self._taken:
            number += 1
            stem, suffix = posixpath.splitext(fitting)
            spelling = f"{stem}_{number}{suffix}"
        self._taken.add(spelling)
        return spelling

    @property
    def changed(self) -> int:
        """How many are not spelled as they were."""
        return sum(name != spelling for name, spelling in self._spelled.items())


def key(name: str) -> str:
    """A key of a param, a tag or a metric."""
    return _cut(_plain(_REFUSED.sub("_", name)), MOST_KEY, name)


def path(name: str) -> str:
    """A path of an artifact."""
    refused = "\\" if unquote(name) == name else "\\%"  # a server looks at what is hidden by percent signs, too
    plain = _plain("".join("_" if c in refused or unicodedata.category(c) in {"Cc", "Cs"} else c for c in name))
    return _cut(f"_{plain}" if _DRIVE.match(plain) else plain, MOST_PATH, name)


def run_id(tracker: str, *parts: str) -> str:
    """Always the same for the same run."""
    return uuid.uuid5(uuid.NAMESPACE_URL, _unicode("\n".join((f"headrace:{tracker}", *parts)))).hex


def texts(values: Mapping[str, str], most: int, folder: str) -> tuple[dict[str, str], list[SourceFile]]:
    """Those of at most so many characters, and the others as files `<folder>/<key>.txt`."""
    kept: dict[str, str] = {}
    files = []
    for name, value in ((name, _unicode(value)) for name, value in values.items()):
        if len(value) > most or "\x00" in value:
            files.append(in_memory(f"{folder}/{path(name)}.txt", value.encode()))
        else:
            kept[name] = value
    return kept, files


def on_disk(name: str, file: Path) -> SourceFile:
    """A file that is there."""
    known = file.stat()
    return SourceFile(name, known.st_size, lambda: file.open("rb"), str(known.st_mtime_ns))


def in_memory(name: str, data: bytes) -> SourceFile:
    """A file of these bytes."""
    return SourceFile(name, len(data), lambda: io.BytesIO(data))


def _plain(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    plain = "/".join("__" if part == ".." else part for part in parts) or "_"
    return f"__{plain[2:]}" if plain.startswith("..") else plain


def _cut(spelling: str, most: int, name: str) -> str:
    if len(spelling) <= most - _ROOM:
        return spelling
    return f"{spelling[: most - 20]}-{uuid.uuid5(uuid.NAMESPACE_URL, _unicode(name)).hex[:8]}"


def _unicode(text: str) -> str:
    """Without lone surrogates, which JSON and names of files can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
