"""`headrace sync`: brings to the server what programs left in the spool folder, each thing once."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from headrace import errors
from headrace.api.artifacts.v1.artifact_service_pb2 import UploadHeader
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.client import Client
from headrace.connection import Connection
from headrace.ingest.spool import SUFFIX as POINTS
from headrace.ingest.sync import Synced, sync_file
from headrace.offline.journal import SUFFIX as JOURNAL
from headrace.offline.journal import LeftJournal
from headrace.records import timestamp

Connect = Callable[[str, str], Client]
Tell = Callable[[str], None]

_EVERY: Final = 100  # records between two lines of progress
_METHODS: Final[dict[type[Message], Callable[[Connection], "grpc.UnaryUnaryMultiCallable[Any, Any]"]]] = {
    wire.CreateRunRequest: lambda c: c.tracking.CreateRun,
    wire.LogParamsRequest: lambda c: c.tracking.LogParams,
    wire.SetRunTagsRequest: lambda c: c.tracking.SetRunTags,
    wire.LogInputsRequest: lambda c: c.tracking.LogInputs,
    wire.UpdateRunRequest: lambda c: c.tracking.UpdateRun,
}


def sync_folder(folder: Path, connect: Connect, patience_s: float, tell: Tell) -> Iterator[Synced]:
    """Sends every run that was left in a folder, and says what became of each file.

    A run is made first, with its params, tags, inputs and files, then its points are sent, then it ends as it ended. It
    may be interrupted anywhere and repeated: what the server has already is not changed by being said again. A run
    whose process lives is left alone. `connect(uri, workspace)` makes the client of the server that a file is for; `tell` gets a
    line of progress now and then.
    """
    runs: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix in {JOURNAL, POINTS}:
            runs.setdefault(path.name.partition("-")[0], []).append(path)
    for run_id, paths in runs.items():
        yield from _sync_run(run_id, paths, connect, patience_s, tell)


def _sync_run(run_id: str, paths: Sequence[Path], connect: Connect, patience_s: float, tell: Tell) -> Iterator[Synced]:
    points = [path for path in paths if path.suffix == POINTS]
    journals: list[LeftJournal] = []
    for path in paths:
        if path.suffix == JOURNAL:
            if (journal := LeftJournal.recover(path)) is None:
                for each in journals:
                    each.release()
                why = "in use by a living process, or no journal"
                yield from (Synced(str(each), run_id, 0, 0, "in use", why) for each in paths)
                return
            journals.append(journal)
    replays = [Replay(journal, connect(journal.uri, journal.workspace), tell) for journal in journals]
    try:
        yield from _in_order(replays, points, connect, patience_s, tell)
    finally:
        for replay in replays:
            replay.close()


def _in_order(
    replays: Sequence["Replay"], points: Sequence[Path], connect: Connect, patience_s: float, tell: Tell
) -> Iterator[Synced]:
    """The beginnings, the points, the ends; what cannot come before its turn stays."""
    stays = ""
    try:
        for replay in replays:
            replay.begin(_last_sign(replay.journal, points))
    except (errors.HeadraceError, OSError) as error:
        stays = str(error)
    for path in points:
        if stays:
            yield Synced(str(path), replays[0].journal.run_id, 0, 0, "failed", f"its run could not be made: {stays}")
            continue
        done = sync_file(path, lambda uri, workspace: connect(uri, workspace).connection, patience_s, tell)
        if done.state != "sent":
            stays = f"points of the run are still in {path}"
        yield done
    for replay in replays:
        if not stays:
            try:
                yield replay.finish()
                continue
            except (errors.HeadraceError, OSError) as error:
                stays = str(error)
        yield replay.said("failed", stays)


class Replay:
    """Says to the server what one journal holds."""

    def __init__(self, journal: LeftJournal, client: Client, tell: Tell) -> None:
        self.journal = journal
        self._client = client
        self._connection = client.connection
        self._tell = tell
        self._experiment_id = ""
        self._refused: list[str] = []
        self._done = 0

    def begin(self, last_sign: datetime) -> None:
        """All but the end. A run whose process was killed gets its end here: KILLED, at its last sign of life."""
        journal = self.journal
        if journal.whole and journal.end is None:
            run = tracking_pb2.Run(
                run_id=journal.run_id, state=tracking_pb2.Run.STATE_KILLED, end_time=timestamp(last_sign)
            )
            journal.add_end(wire.UpdateRunRequest(run=run, update_mask=FieldMask(paths=["state", "end_time"])))
        for message in journal.messages:
            self._say(message)
        self._send_files()

    def finish(self) -> Synced:
        """The end; then the journal goes, or is set aside where the server refused something."""
        if self.journal.end is not None:
            self._connection.call(lambda c: c.tracking.UpdateRun, self.journal.end)
        if not self._refused:
            self.journal.remove()
            return self.said("sent", "")
        aside = self.journal.set_aside()
        return self.said(
            "failed", f"the server refused {len(self._refused)} of them, kept in {aside}: {self._refused[0]}"
        )

    def said(self, state: Literal["sent", "failed"], message: str) -> Synced:
        """What became of the journal."""
        return Synced(str(self.journal.path), self.journal.run_id, 0, 0, state, message or self._summary(), self._done)

    def close(self) -> None:
        """Lets go of what is left of the journal."""
        self.journal.release()
        self._client.close()

    def _summary(self) -> str:
        begun = any(isinstance(each, wire.CreateRunRequest) for each in self.journal.messages)
        end = self.journal.end
        ended = tracking_pb2.Run.State.Name(end.run.state).removeprefix("STATE_") if end is not None else ""
        return ", ".join(filter(None, ("run made" if begun else "", f"ended as {ended}" if ended else "")))

    def _say(self, message: Message) -> None:
        if isinstance(message, UploadHeader):
            return  # all together, afterwards
        try:
            self._call(message)
        except errors.InvalidRequest as error:
            if isinstance(message, wire.CreateRunRequest | wire.CreateExperimentRequest):
                raise
            self._refused.append(str(error))
        self._count()

    def _call(self, message: Message) -> None:
        if isinstance(message, wire.CreateExperimentRequest):
            self._experiment_id = self._client.get_or_create_experiment(message.name).id
            return
        if isinstance(message, wire.CreateRunRequest):
            message.experiment_id = self._experiment_id or message.experiment_id
        self._connection.call(_METHODS[type(message)], message)

    def _send_files(self) -> None:
        """Those that the server does not have yet, by size and digest."""
        files = list(self.journal.files())
        known = {one.path: one.sha256 for one in self._client.artifacts.list(self.journal.run_id)} if files else {}
        for header, path in files:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if known.get(header.path) != digest:
                try:
                    self._client.artifacts.upload(self.journal.run_id, path, header.path)
                except errors.InvalidRequest as error:
                    self._refused.append(str(error))
            self._count()

    def _count(self) -> None:
        self._done += 1
        if self._done % _EVERY == 0:
            self._tell(f"run {self.journal.run_id}: {self._done:,} records")


def _last_sign(journal: LeftJournal, points: Sequence[Path]) -> datetime:
    """When the process of a run last wrote something."""
    times = [path.stat().st_mtime for path in (journal.path, *points) if path.exists()]
    return datetime.fromtimestamp(max(times), UTC)
