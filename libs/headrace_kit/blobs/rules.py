"""What every store of blobs holds to: the grammar of keys, the size of parts, the check of a store."""

import contextlib
import io
import re
import uuid
from typing import Final

from headrace_kit.blobs import Blobs, StoreFull

PART_BYTES: Final = 1 << 20
"""The most that `Blobs.get` gives at once, and that a store asks its source for at once."""

# 255 bytes is the longest file name of common file systems, 1,024 the longest key of S3 (the store's prefix included).
_PART: Final = "[a-z0-9-]{1,255}"
_KEY: Final = re.compile(rf"{_PART}(/{_PART})*")
_PREFIX: Final = re.compile(rf"({_PART}/)*({_PART})?")
_MOST_CHARACTERS: Final = 900


def checked_key(key: str) -> str:
    """The key itself. Raises ValueError, a defect of the caller, when it is not of the grammar.

    A key must not be the folder of another one ("a" beside "a/b"): a folder cannot keep both.
    """
    if len(key) > _MOST_CHARACTERS or not _KEY.fullmatch(key):
        raise ValueError(f'blob key {key!r}: must be [a-z0-9-]+ in parts joined by "/", at most {_MOST_CHARACTERS}')
    return key


def checked_prefix(prefix: str) -> str:
    """The beginning of a key, itself; may be empty and may end in "/". Raises ValueError when no key begins so."""
    if len(prefix) > _MOST_CHARACTERS or not _PREFIX.fullmatch(prefix):
        raise ValueError(f"blob prefix {prefix!r}: no key begins so")
    return prefix


def checked_range(offset: int, length: int | None) -> int | None:
    """The length itself. Raises ValueError when the offset is negative, or a length is not positive."""
    if offset < 0:
        raise ValueError(f"offset must be 0 or more, got {offset}")
    if length is not None and length < 1:
        raise ValueError(f"length must be 1 or more, or None for all; got {length}")
    return length


def probe(blobs: Blobs) -> None:
    """Writes an empty blob and deletes it. A full store passes: it can still be read, and must be emptied by someone.

    Raises `StoreUnavailable`.
    """
    key = f"probe/{uuid.uuid4()}"
    with contextlib.suppress(StoreFull):
        blobs.put(key, io.BytesIO())
    blobs.delete(key)
