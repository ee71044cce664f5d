"""Blobs in a bucket of an S3 store; the only module that knows the `minio` client and its errors."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from headrace_kit.blobs import BlobNotFound, StoreFull, StoreUnavailable, rules

_MOST_PARTS: Final = 10_000  # of one upload, in every S3 store
_CONNECTIONS: Final = 32  # kept open for reuse; more are opened when needed
_FULL: Final = frozenset({"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"})
_INSUFFICIENT_STORAGE: Final = 507
_OWN_BUCKET: Final = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Config:
    """Where the store is and how to be let in."""

    endpoint: str
    """host:port, without a scheme."""
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    """Made by `check` where it is missing."""
    secure: bool = True
    """Over TLS."""
    region: str = "us-east-1"
    prefix: str = ""
    """Put before every key: with "headrace/", other programs can share the bucket."""
    timeout_s: float = 20.0
    """How long the store may be silent; also the time that one upload part may take to be sent."""
    upload_part_bytes: int = 8 << 20
    """At least 5 MiB. A put holds about three parts; a blob can have 10,000: 78 GiB with parts of 8 MiB."""

    @property
    def most_bytes(self) -> int:
        """The largest blob."""
        return _MOST_PARTS * self.upload_part_bytes


class S3Blobs:
    """The store in a bucket. Threads may share it; each call under way holds one connection."""

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._client = Minio(
            config.endpoint,
            access_key=config.access_key,
            secret_key=config.secret_key,
            secure=config.secure,
            region=config.region,
            http_client=_http(config.timeout_s),
        )

    def put(self, key: str, data: BinaryIO) -> int:
        """As `Blobs.put`, in parts that go up one after the other; holds about three of them.

        Of an upload whose process is killed, the parts stay unseen in the store until it drops them itself: MinIO after
        a day; elsewhere give the bucket a lifecycle rule (AbortIncompleteMultipartUpload). When the store goes away
        just as it completes the blob, `StoreUnavailable` may be raised although the blob is there.
        """
        source = _Source(data)
        try:
            with _translated(key):
                # One part at a time: the client's parallel upload leaves its threads behind when `data` raises, and
                # aborts while they still send.
                self._client.put_object(
                    self._config.bucket,
                    self._name(key),
                    cast("BinaryIO", source),
                    length=-1,
                    part_size=self._config.upload_part_bytes,
                    num_parallel_uploads=1,
                )
        except (_SourceFailed, StoreFull, StoreUnavailable, BlobNotFound):
            if source.error is not None:  # also when the abort that followed failed
                raise source.error from None
            raise
        return source.size

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        """As `Blobs.get`."""
        name = self._name(key)
        rules.checked_range(offset, length)
        with _translated(key):
            try:
                response = self._client.get_object(self._config.bucket, name, offset=offset, length=length or 0)
            except S3Error as error:
                if error.code == "InvalidRange":  # nothing from there on
                    return
                raise
        try:
            parts = response.stream(rules.PART_BYTES, decode_content=False)
            while True:
                with _translated(key):
                    part = next(parts, b"")
                if not part:
                    return
                yield part
        finally:
            response.close()
            response.release_conn()

    def size(self, key: str) -> int:
        """As `Blobs.size`."""
        with _translated(key):
            return self._client.stat_object(self._config.bucket, self._name(key)).size or 0

    def delete(self, key: str) -> None:
        """As `Blobs.delete`. MinIO makes it wait for reads of the blob under way: raises `StoreUnavailable` then."""
        with contextlib.suppress(BlobNotFound), _translated(key):
            self._client.remove_object(self._config.bucket, self._name(key))

    def keys(self, prefix: str) -> Iterator[str]:
        """As `Blobs.keys`, in pages of 1,000."""
        start = self._config.prefix + rules.checked_prefix(prefix)
        with _translated(prefix):
            for found in self._client.list_objects(self._config.bucket, prefix=start, recursive=True):
                yield (found.object_name or "").removeprefix(self._config.prefix)

    def check(self) -> None:
        """As `Blobs.check`."""
        bucket = self._config.bucket
        with _translated(bucket):
            if not self._client.bucket_exists(bucket):
                try:
                    self._client.make_bucket(bucket, location=self._config.region)
                except S3Error as error:
                    if error.code not in _OWN_BUCKET:  # another process was faster
                        raise
        rules.probe(self)

    def _name(self, key: str) -> str:
        return self._config.prefix + rules.checked_key(key)


class _SourceFailed(Exception):  # noqa: N818 - says what it is
    """The data of an upload raised; what it raised is in `_Source.error`."""


class _Source:
    """Data on its way up: reads full parts, counts, and tells errors of the data from errors of the store."""

    def __init__(self, data: BinaryIO) -> None:
        self._data = data
        self.size = 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        try:
            while size and (part := self._data.read(min(size, rules.PART_BYTES))):
                parts.append(part)
                size -= len(part)
                self.size += len(part)
        except BaseException as error:
            # Whatever it was, as an Exception: the client cleans up after no other.
            self.error = error
            raise _SourceFailed from error
        return b"".join(parts)


def _http(timeout_s: float) -> urllib3.PoolManager:
    """Connections that give up: the client's own wait five minutes, six times."""
    return urllib3.PoolManager(
        # urllib3 sends a whole body within the timeout of the connect, so that must not be short.
        timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
        maxsize=_CONNECTIONS,
        retries=urllib3.Retry(
            total=3,
            connect=1,
            read=1,
            status=3,
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503, 504],
            raise_on_status=False,  # the last answer says why
            respect_retry_after_header=False,  # it knows no bound
        ),
    )


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """The client's errors as the port's."""
    try:
        yield
    except S3Error as error:
        said = f"{what}: {error.code}: {error.message}"
        if error.code == "NoSuchKey":
            raise BlobNotFound(said) from error
        if error.code in _FULL or error.response.status == _INSUFFICIENT_STORAGE:
            raise StoreFull(said) from error
        raise StoreUnavailable(said) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        if _http_status(error) == _INSUFFICIENT_STORAGE:
            raise StoreFull(f"{what}: {error}") from error
        raise StoreUnavailable(f"{what}: {error}") from error


def _http_status(error: Exception) -> int:
    if isinstance(error, ServerError):
        return error.status_code
    if isinstance(error, InvalidResponseError):
        return error._code  # noqa: SLF001 - it has no other way to tell
    return 0
