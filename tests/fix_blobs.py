"""Data for stores of blobs, and what tests ask of them."""

import hashlib
import io
from typing import BinaryIO, cast

from typing_extensions import override

from headrace_kit.blobs import Blobs
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs

MIB = 1 << 20
UPLOAD_PART = 8 * MIB  # where S3Blobs goes from one request to many


class Source(io.RawIOBase):
    """So many bytes, made as they are read; then the error, or the end."""

    def __init__(self, size: int, error: BaseException | None = None, at_most: int = MIB) -> None:
        self.left = size
        self.error = error
        self.at_most = at_most
        self.sha256 = hashlib.sha256()

    @override
    def read(self, size: int = -1, /) -> bytes:
        if not self.left and self.error:
            raise self.error
        count = min(size if size >= 0 else self.left, self.left, self.at_most)
        self.left -= count
        part = self.left.to_bytes(8, "big") * (count // 8 + 1)
        self.sha256.update(part[:count])
        return part[:count]


def put(blobs: Blobs, key: str, source: Source) -> int:
    return blobs.put(key, cast("BinaryIO", source))


def read(blobs: Blobs, key: str, offset: int = 0) -> bytes:
    return b"".join(blobs.get(key, offset))


def leftovers(blobs: Blobs) -> list[object]:
    """What a store holds beside its blobs."""
    if isinstance(blobs, FileBlobs):
        return list((blobs._folder / ".unfinished").iterdir())
    assert isinstance(blobs, S3Blobs)
    return list(blobs._client._list_multipart_uploads(blobs._config.bucket).uploads)
