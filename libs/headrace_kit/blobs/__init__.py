"""The object store as services see it: immutable blobs under opaque keys; S3 or a folder behind it.

Keys are made by Headrace ("[a-z0-9/-]+"), never taken from a request. All calls block; edges run them in threads.
"""

from collections.abc import Generator, Iterator
from typing import BinaryIO, Protocol


class Blobs(Protocol):
    """A store of blobs."""

    def put(self, key: str, data: BinaryIO) -> int:
        """Stores what `data` gives until its end, in parts; returns the size in bytes.

        All or nothing: when `data` raises, that error goes on and nothing is stored under the key. The blob survives
        a kill -9 once this returns. Raises `StoreFull` and `StoreUnavailable`.
        """
        ...

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        """The bytes from `offset`, all or at most `length`, in parts of at most 1 MiB.

        Raises `BlobNotFound` before the first part, `StoreUnavailable` at any. Close the iterator when leaving early.
        """
        ...

    def size(self, key: str) -> int:
        """Size in bytes; raises `BlobNotFound`."""
        ...

    def delete(self, key: str) -> None:
        """Deletes the blob; none there is fine."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin so, in any order."""
        ...

    def check(self) -> None:
        """Makes sure that the store can be written to, making its bucket or folder; raises `StoreUnavailable`."""
        ...


class BlobError(Exception):
    """Base of the errors of a store."""


class BlobNotFound(BlobError):  # noqa: N818 - says what it is
    """No blob has this key."""


class StoreFull(BlobError):  # noqa: N818 - says what it is
    """The store has no room left."""


class StoreUnavailable(BlobError):  # noqa: N818 - says what it is
    """The store did not answer, or refused; trying again may help."""
