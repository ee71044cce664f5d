"""Sends the points that an ended process left in its spool file."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace import errors
from headrace.connection import Connection
from headrace.ingest.producer import Producer
from headrace.ingest.sender import Sender
from headrace.ingest.settings import IngestSettings
from headrace.ingest.spool import SpoolFile


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one file of the spool: of points, or of what was said of a run (`headrace.offline`)."""

    path: str
    run_id: str
    """Empty where the file could not be opened."""
    points: int
    """Sent and acknowledged now, or acknowledged to its process before."""
    left: int
    """Points that are still in the file."""
    state: Literal["sent", "in use", "failed"]
    message: str
    """What went wrong or, of a run that was sent, what it did there."""
    records: int = 0
    """What else than points was said to the server: params, tags, inputs, files."""


def sync_file(
    path: Path, connect: Callable[[str, str], Connection], patience_s: float, tell: Callable[[str], None]
) -> Synced:
    """Sends one file with the ids and seqs of the process that made it, so that nothing is doubled; then deletes it.

    A file that a living process uses, or another sync, is left alone. `connect(uri, workspace)` is the way to the server it is for;
    `tell` gets a line of progress now and then. Gives up, and leaves the file, when no acknowledgement came for
    `patience_s`, or the server will not have the points.
    """
    spool = SpoolFile.recover(path)
    if spool is None:
        return Synced(str(path), "", 0, 0, "in use", "in use by a living process, or no spool file")
    if not spool.first_seq:
        spool.remove()
        return Synced(str(path), spool.owner.run_id, 0, 0, "sent", "")
    settings = IngestSettings(spool_bytes=0)
    connection = connect(spool.owner.uri, spool.owner.workspace)
    sender = Sender(settings)
    producer = Producer.adopting(spool, connection, sender, settings)
    try:
        points = producer.unacknowledged()
        message, left = _send(producer, points, patience_s, tell)
    finally:
        connection.close()
    state: Literal["sent", "failed"] = "failed" if message else "sent"
    return Synced(str(path), spool.owner.run_id, points - left, left, state, message)


def _send(producer: Producer, points: int, patience_s: float, tell: Callable[[str], None]) -> tuple[str, int]:
    """Waits until all is acknowledged; what went wrong, empty if nothing did, and how many points are left."""
    left, moved_at, message = points, time.monotonic(), ""
    while left and not message:
        try:
            producer.flush(0.5)
        except errors.TimedOut as error:
            message = str(error) if time.monotonic() - moved_at > patience_s else ""
        except errors.HeadraceError as error:
            message = str(error)
            break
        if (now_left := producer.unacknowledged()) < left:
            left, moved_at = now_left, time.monotonic()
            tell(f"{points - left:,} of {points:,} points")
    try:
        producer.close(0.0)
    except errors.HeadraceError as error:
        message = message or str(error)
    return message, left
