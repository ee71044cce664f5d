"""Files of a run that has no server yet."""

from collections.abc import Callable, Iterable

from typing_extensions import override

from headrace.artifacts import Artifacts, upload_header
from headrace.connection import Connection
from headrace.offline.journal import Journal
from headrace.records import Artifact


class KeptArtifacts(Artifacts):
    """Uploads are copied into the spool; the artifacts answered have no id and no time yet."""

    def __init__(self, connection: Connection, journal: Journal) -> None:
        super().__init__(connection)
        self._journal = journal

    @override
    def _upload(self, owner: str, path: str, parts: Callable[[], Iterable[bytes]], size: int) -> Artifact:
        header = upload_header(owner, path)
        size, digest = self._journal.add_file(header, parts())
        return Artifact("", path, size, digest.hex(), header.media_type, None)
