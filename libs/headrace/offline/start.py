"""Starts a run that no server knows of yet."""

from headrace import errors
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.connection import Connection
from headrace.ingest.sender import Sender
from headrace.ingest.settings import IngestSettings
from headrace.ingest.spool import directory
from headrace.offline.journal import Journal
from headrace.records import Run
from headrace.runs import ActiveRun


def offline_run(
    begin: wire.CreateRunRequest | wire.UpdateRunRequest,
    experiment: str,
    connection: Connection,
    sender: Sender,
    settings: IngestSettings,
) -> ActiveRun:
    """A run that begins, or goes on, in a journal; in the experiment of this name, if one is given.

    Raises InvalidRequest without a spool or for a key that no server would take, Overloaded without room on the disk.
    """
    if not settings.spool_bytes:
        raise errors.InvalidRequest("offline: the run is kept in the spool, and IngestSettings.spool_bytes is 0")
    if new := isinstance(begin, wire.CreateRunRequest):
        run = tracking_pb2.Run(run_id=begin.run_id, name=begin.name)
    else:
        run = begin.run
    folder = directory(settings.spool_dir)
    journal = Journal(folder, run.run_id, connection, settings.spool_bytes, whole=new)
    if new and experiment:
        journal.add(wire.CreateExperimentRequest(name=experiment))
    journal.add(begin)
    return ActiveRun(Run.of(run), connection, sender, settings, journal)
