"""A producer's frames that go to disk: when the server is away, when memory is full, when the run ends before they are sent."""

import logging
from typing import Final

from headrace import errors
from headrace.api.tracking.v1.metrics_pb2 import Frame
from headrace.ingest.outbox import Outbox
from headrace.ingest.settings import IngestSettings
from headrace.ingest.spool import Owner, SpoolFile, directory, supported

log: Final = logging.getLogger("headrace")


class Overflow:
    """The spool file of one producer, made when the first frame moves to it. No locks: its owner sees to them."""

    def __init__(self, owner: Owner, settings: IngestSettings) -> None:
        self.trouble = ""
        """Why nothing can be spooled now, as the end of a sentence; empty while it can."""
        self._owner = owner
        self._settings = settings
        self._file: SpoolFile | None = None

    def adopt(self, file: SpoolFile) -> None:
        """Goes on with a file that another process made."""
        self._file = file

    @property
    def able(self) -> bool:
        """Whether there may be a file at all, by settings and system."""
        return self._settings.spool_bytes > 0 and supported()

    def load(self, seq: int) -> Frame:
        """A frame that was moved here. Raises DataLost."""
        if self._file is None:
            raise errors.DataLost(f"frame {seq} is in no spool file")
        return self._file.read(seq)

    def move(self, outbox: Outbox) -> None:
        """Moves the frames in memory to the file, as far as it takes them."""
        if not self.able:
            return
        try:
            for frame in outbox.in_memory():
                if self._file is None:
                    folder = directory(self._settings.spool_dir)
                    self._file = SpoolFile.create(folder, self._owner, self._settings.spool_bytes)
                self._file.append(frame)
                outbox.moved(frame.seq)
            self.trouble = ""
        except OSError as error:
            why = error.strerror or error
            if not self.trouble:
                log.warning("run %s: nothing more can be spooled: %s", self._owner.run_id, why)
            self.trouble = f", and the spool takes no more ({why})"

    def drop(self, outbox: Outbox) -> None:
        """The file goes when all its frames are acknowledged."""
        if self._file is not None and outbox.acked >= self._file.last_seq:
            self._file.remove()
            self._file = None

    def leave(self, outbox: Outbox, *, quietly: bool) -> None:
        """Leaves what is in the file to `headrace sync`, and says so."""
        if self._file is not None:
            points = outbox.points_kept() - outbox.points_in_memory()
            log.log(
                logging.DEBUG if quietly else logging.WARNING,
                "run %s: %d points wait in %s; `headrace sync` sends them",
                self._owner.run_id,
                points,
                self._file.path,
            )
            self._file.release()
            self._file = None

    def forked(self) -> None:
        """In a forked child: the file is the parent's."""
        if self._file is not None:
            self._file.release()
