"""The parts of an upload become one blob: read once more in their order, because no digest of a whole comes from those of its parts."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from uuid import UUID

from typing_extensions import override

from headrace_artifacts import parts_rules, rules, transfer
from headrace_artifacts.parts_store import PartRow
from headrace_artifacts.transfer import Received, Source
from headrace_kit.blobs import BlobNotFound, Blobs


async def join(blobs: Blobs, threads: Executor, key: str, upload_id: UUID, parts: Sequence[PartRow]) -> Received:
    """Stores the parts one behind the other; returns once the blob is durable, and leaves the parts where they are.

    When it raises, or is cancelled, nothing is stored. Raises DomainError: DATA_LOST when a part is not what it was,
    UPLOAD_NOT_FOUND when one is gone, STORE_FULL, BACKEND_UNAVAILABLE.
    """
    joined = _Joined(blobs, upload_id, parts)
    stored = asyncio.get_running_loop().run_in_executor(threads, transfer.put, blobs, key, joined)
    try:
        await asyncio.wait({stored})
    finally:
        joined.stop()
        await asyncio.wait({stored})
    return await stored


class _Joined(Source):
    """The parts of an upload, one behind the other; each is checked on the way."""

    def __init__(self, blobs: Blobs, upload_id: UUID, parts: Sequence[PartRow]) -> None:
        super().__init__()
        self._blobs = blobs
        self._upload_id = upload_id
        self._bytes = self._all(parts)
        self._stopped = False

    def stop(self) -> None:
        """`more` raises from now on."""
        self._stopped = True

    @override
    def more(self) -> bytes:
        if self._stopped:
            raise rules.truncated("the call was cancelled")
        return next(self._bytes, b"")

    def _all(self, parts: Sequence[PartRow]) -> Iterator[bytes]:
        for part in parts:
            sha256, size = hashlib.sha256(), 0
            try:
                for data in self._blobs.get(part.blob_key):
                    sha256.update(data)
                    size += len(data)
                    yield data
            except BlobNotFound:  # aborted, or too old
                raise parts_rules.upload_not_found(self._upload_id) from None
            if (size, sha256.digest()) != (part.size_bytes, part.sha256):
                raise rules.data_lost(
                    f"part {part.number} of the upload {self._upload_id}", "the store has other bytes than those stored"
                )
