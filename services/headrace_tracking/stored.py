"""Stored chunks as the points that they hold: whatever a request reads of points goes through here."""

from collections.abc import Sequence

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.errors import DomainError
from headrace_tracking import archives
from headrace_tracking.archives import Held, Unread
from headrace_tracking.chunks import Stored
from headrace_tracking.columns import BadColumns, Columns, Zstd


def unpacked(rows: Sequence[Stored], zstd: Zstd, held: Held) -> list[Columns]:
    """The points of each. Raises DomainError DATA_LOST for a damaged chunk, Unread for what `held` lacks of archives."""
    check(rows, held)
    try:
        return [archives.columns_of(row, held, zstd) for row in rows]
    except BadColumns as error:
        raise damaged(error) from error


def check(rows: Sequence[Stored], held: Held) -> None:
    """Raises Unread when `held` lacks something of these."""
    missing = archives.parts_of(rows) - held.keys()
    if missing:
        raise Unread(missing)


def damaged(error: BadColumns) -> DomainError:
    """The error of points whose bytes are not those that were stored."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_DATA_LOST,
        f"stored points of this series are damaged ({error}); bring what is named there back from its backup",
    )
