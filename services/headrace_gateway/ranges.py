"""Byte ranges of HTTP (RFC 9110, 14): which stretch of a file a request asks for; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_ONE_RANGE: Final = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of a file; `length` is at least 1."""

    offset: int
    length: int
    size: int
    """Of the whole file."""

    @property
    def content_range(self) -> str:
        """The header that says so."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.size}"


class Unsatisfiable(Exception):  # noqa: N818 - an answer, not a defect
    """The range has no byte of the file: status 416."""


def wanted(headers: Mapping[str, str]) -> bool:
    """Whether one range is asked for: of several, or of what is none, the whole file is answered, as the RFC allows."""
    match = _ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    return match is not None and bool(match["first"] or match["last"])


def stretch(headers: Mapping[str, str], size: int, etag: str) -> Stretch | None:
    """What is `wanted` of a file of this size; None for all of it, as If-Range names another file. Raises Unsatisfiable."""
    if headers.get("if-range", etag) != etag:
        return None
    match = _ONE_RANGE.fullmatch(headers["range"].replace(" ", ""))
    assert match is not None  # noqa: S101 - it is wanted
    if not match["first"]:
        length = min(int(match["last"]), size)
        offset = size - length
    else:
        offset = int(match["first"])
        last = int(match["last"]) if match["last"] else size - 1
        if last < offset and match["last"]:
            return None  # it says nothing
        length = min(last, size - 1) - offset + 1
    if length < 1:
        raise Unsatisfiable
    return Stretch(offset, length, size)
