"""Where MLflow keeps files: folders, S3 stores, and a server's proxy of either."""

import io
import os
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, unquote, urlsplit

from headrace import errors
from headrace.imports.mlflow.http import Http
from headrace.imports.source import SourceFile

_PROXIED: Final = "mlflow-artifacts"
_BUFFER: Final = 1 << 20
_PROXY: Final = "/api/2.0/mlflow-artifacts/artifacts"


class Stores:
    """Reads artifact roots by their URIs. `root` stands for what MLflow's proxy serves: a folder, s3://bucket/path, or the
    http:// address of the server itself; empty where nothing is proxied.
    """

    def __init__(self, root: str = "", http: Callable[[str], Http] = Http) -> None:
        self._root = root.rstrip("/")
        self._http = http

    def below(self, uri: str, path: str = "") -> Iterator[SourceFile]:
        """All files below a folder of a root; their paths begin there. None where there is no such folder.

        Raises Unsupported for a kind of store that is not known here, OSError.
        """
        whole = f"{uri.rstrip('/')}/{path}".rstrip("/") if path else uri.rstrip("/")
        parts = urlsplit(whole)
        if parts.scheme == _PROXIED:
            return self._proxied(parts.path.strip("/"))
        return self._direct(whole)

    def _direct(self, uri: str) -> Iterator[SourceFile]:
        parts = urlsplit(uri)
        match parts.scheme:
            case "" | "file":
                return in_folder(Path(unquote(parts.path) if parts.scheme else uri))
            case "s3":
                return self._in_bucket(parts.netloc, parts.path.strip("/"))
            case scheme:
                raise errors.Unsupported(
                    f"files at {uri} cannot be read: of {scheme}:// nothing is known here. Import from the running server,"
                    " which reads its own store (headrace import mlflow http://...), or leave files out (--no-artifacts)"
                )

    def _proxied(self, path: str) -> Iterator[SourceFile]:
        if not self._root:
            raise errors.InvalidRequest(
                f"the files at {_PROXIED}:/{path} lie behind MLflow's proxy: name its folder, s3:// address or server with"
                " --artifacts (what `mlflow server` has as --artifacts-destination), or leave files out (--no-artifacts)"
            )
        if self._root.startswith(("http://", "https://")):
            return self._behind(self._http(self._root), path)
        return self._direct(f"{self._root}/{path}")

    def _behind(self, http: Http, path: str) -> Iterator[SourceFile]:
        folders = [""]
        while folders:
            folder = folders.pop()
            asked = f"{path}/{folder}".rstrip("/")
            for file in http.get(_PROXY, path=asked).get("files", []):
                name = f"{folder}/{file['path']}".lstrip("/")
                if file.get("is_dir"):
                    folders.append(name)
                    continue
                address = f"{_PROXY}/{quote(f'{path}/{name}')}"
                yield SourceFile(name, int(file.get("file_size", 0)), partial(http.open, address))

    @cached_property
    def _s3(self) -> Any:
        from minio import Minio  # noqa: PLC0415 - half a second of import
        from minio.credentials import providers  # noqa: PLC0415 - as above

        asked = (
            os.environ.get("MLFLOW_S3_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"
        )
        parts = urlsplit(asked)
        return Minio(
            parts.netloc,
            credentials=providers.ChainedProvider(
                [providers.EnvAWSProvider(), providers.AWSConfigProvider(), providers.IamAwsProvider()]
            ),
            secure=parts.scheme == "https",
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        )

    def _in_bucket(self, bucket: str, prefix: str) -> Iterator[SourceFile]:
        client = self._s3
        for found in client.list_objects(bucket, prefix=f"{prefix}/" if prefix else "", recursive=True):
            name = found.object_name[len(prefix) :].lstrip("/")

            def opened(key: str = found.object_name) -> BinaryIO:
                return io.BufferedReader(_Body(client.get_object(bucket, key)), _BUFFER)

            if name:
                yield SourceFile(name, int(found.size or 0), opened, str(found.etag))


class _Body(io.RawIOBase):
    """The body of an answer, which gives its connection back when it is closed."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._response.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
            self._response.release_conn()
        super().close()


def in_folder(folder: Path) -> Iterator[SourceFile]:
    """All files below a folder on the disk, in order of path."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(root, name)
            about = file.stat()
            path = file.relative_to(folder).as_posix()
            yield SourceFile(path, about.st_size, partial(_opened, file), str(about.st_mtime_ns))


def _opened(file: Path) -> BinaryIO:
    return file.open("rb")
