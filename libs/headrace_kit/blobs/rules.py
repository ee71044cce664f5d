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


def checked_offset(offset: int) -> int:
    """The offset itself. Raises ValueError when it is negative."""
    if offset < 0:
        raise ValueError(f"offset must be 0 or more, got {offset}")
    return offset


def probe(blobs: Blobs) -> None:
    """Writes an empty blob and deletes it. A full store passes: it can still be read, and must be emptied by someone.

    Raises `StoreUnavailable`.
    """
    key = f"probe/{uuid.uuid4()}"
    with contextlib.suppress(StoreFull):
        blobs.put(key, io.BytesIO())
    blobs.delete(key)
