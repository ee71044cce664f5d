"""Stored chunks as the points that they hold: whatever a request reads of points goes through here."""

from collections.abc import Sequence

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.errors import DomainError
from headrace_tracking import chunks
from headrace_tracking.columns import BadColumns, Columns, Zstd
from headrace_tracking.store.metrics import ChunkRow


def unpacked(rows: Sequence[ChunkRow], zstd: Zstd) -> list[Columns]:
    """The points of each. Raises DomainError DATA_LOST for a damaged chunk."""
    try:
        return [chunks.unpack(row.points, row.data, zstd) for row in rows]
    except BadColumns as error:
        raise damaged(error) from error


def damaged(error: BadColumns) -> DomainError:
    """The error of a chunk whose bytes are not those that were stored."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_DATA_LOST,
        f"stored points of this series are damaged ({error}); the database needs its backup",
    )
