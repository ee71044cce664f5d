"""Files of runs and logged models: MLflow's artifact repository on Headrace's artifact service."""

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.utils.rest_utils import MlflowHostCreds
from typing_extensions import override

from headrace.artifacts import Place, join, place
from headrace.client import Client
from headrace.records import Artifact
from headrace_mlflow.failures import as_mlflow
from headrace_mlflow.server import client, gateway, host_creds


def repository(artifact_uri: str, tracking_uri: str, registry_uri: str | None) -> ArtifactRepository:
    """The files at a URI of the scheme mlflow-artifacts: by the artifact service where they are of a run or logged model.

    What else lies at this Headrace by its gateway; and by MLflow's own repository where the URI names another server.
    """
    named = urlsplit(artifact_uri)
    if named.netloc:
        return MlflowArtifactsRepository(artifact_uri, gateway(tracking_uri), registry_uri)
    at = place(unquote(named.path))
    if at is None:
        return _AtGateway(artifact_uri, tracking_uri, registry_uri)
    return OwnedFiles(artifact_uri, tracking_uri, registry_uri, at=at)


class OwnedFiles(ArtifactRepository):
    """Files of one run or logged model. Paths given and listed begin at the URI. Every method raises MlflowException."""

    def __init__(self, artifact_uri: str, tracking_uri: str, registry_uri: str | None, *, at: Place) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._uri = tracking_uri
        self._owner, self._root = at

    @override
    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        with as_mlflow():
            self._upload(Path(local_file), join(artifact_path or "", Path(local_file).name))

    @override
    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Several at a time."""
        root = Path(local_dir)
        files = sorted(each for each in root.rglob("*") if each.is_file())
        paths = [join(artifact_path or "", each.relative_to(root).as_posix()) for each in files]
        with as_mlflow():
            for _ in self.thread_pool.map(self._upload, files, paths):
                pass

    @override
    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """What lies directly there; nothing of a file."""
        with as_mlflow():
            files, folders = self._client.artifacts.list_folder(self._owner, self._at(path))
        found = [FileInfo(self._below(file.path), False, file.size_bytes) for file in files]
        found += [FileInfo(self._below(folder), True, None) for folder in folders]
        return sorted(found, key=lambda one: str(one.path))

    @override
    def _download_file(self, remote_file_path: str, local_path: str | Path) -> None:
        with as_mlflow():
            self._client.artifacts.download_file(self._owner, self._at(remote_file_path), Path(local_path))

    @override
    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """A file, or all that lies below a folder."""
        with as_mlflow():
            for file in self._at_or_below(self._at(artifact_path)):
                self._client.artifacts.delete(file)

    @property
    def _client(self) -> Client:
        return client(self._uri)

    def _upload(self, file: Path, path: str) -> None:
        self._client.artifacts.upload(self._owner, file, self._at(path))

    def _at_or_below(self, path: str) -> Iterator[Artifact]:
        below = self._client.artifacts.list(self._owner, path)
        yield from below or (() if not path else (self._client.artifacts.get(self._owner, path),))

    def _at(self, path: str | None) -> str:
        """Of the owner's."""
        return join(self._root, posixpath.normpath(path)) if path and path != "." else self._root

    def _below(self, path: str) -> str:
        """Of this repository's."""
        return path.removeprefix(self._root).lstrip("/")


class _AtGateway(MlflowArtifactsRepository):
    """By REST, with the credentials that a Headrace is called with."""

    def __init__(self, artifact_uri: str, tracking_uri: str, registry_uri: str | None) -> None:
        super().__init__(artifact_uri, gateway(tracking_uri), registry_uri)
        self._uri = tracking_uri

    @property
    def _host_creds(self) -> MlflowHostCreds:
        creds: Any = host_creds(self._uri)
        creds.host = self.artifact_uri
        return creds
