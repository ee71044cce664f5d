"""Files with the points of a run, fetched for other programs to read."""

import os
import uuid
from pathlib import Path
from typing import IO, Final

from headrace import errors
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.connection import Connection

_DEADLINE_S: Final = 3600.0


def export_metrics(connection: Connection, run_id: str, file: str | os.PathLike[str]) -> Path:
    """Writes all visible points of a run into a Parquet file, which appears only whole; answers where it is.

    Begins anew after a broken connection. Raises NotFound for the run, DataLost, OSError.
    """
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".headrace-{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as opened:
            connection.patiently(lambda: _fetch(connection, run_id, opened))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _fetch(connection: Connection, run_id: str, file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
    size = 0
    request = wire.ExportMetricsRequest(run_id=run_id)
    for answer in connection.stream(lambda c: c.tracking.ExportMetrics, request, timeout_s=_DEADLINE_S):
        size = max(size, answer.size_bytes)
        file.write(answer.part)
    if file.tell() != size:
        raise errors.DataLost(f"the file of run {run_id} has {size:,} bytes, {file.tell():,} came")
