"""The settings of an object store, the same for every service that keeps something in one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from headrace_kit.blobs import Blobs
from headrace_kit.blobs.files import FileBlobs
from headrace_kit.blobs.s3 import S3Blobs, S3Config
from headrace_kit.config import ServiceConfig, setting

_LEAST_PART_BYTES: Final = 5 << 20  # of every S3 store


@dataclass(frozen=True, kw_only=True)
class StoreConfig(ServiceConfig):
    """Settings of a service that keeps something in an object store.

    Services may share a bucket: their keys do not begin alike.
    """

    s3_endpoint: str = setting("", "S3 store that keeps the files, host:port; empty keeps them in a folder.")
    s3_access_key: str = setting("", "Access key of the S3 store.")
    s3_secret_key: str = setting("", "Secret key of the S3 store.", secret=True)
    s3_bucket: str = setting("headrace", "Bucket of the S3 store; made where it is missing.")
    s3_prefix: str = setting("", 'Put before every key in the bucket, such as "headrace/".')
    s3_region: str = setting("us-east-1", "Region of the S3 store.")
    s3_secure: bool = setting(True, "Whether the S3 store is reached over TLS.")
    s3_part_bytes: int = setting(
        8 << 20, "Parts in which files go up; each upload holds three, a file may have 10,000."
    )

    @override
    def problems(self) -> list[str]:
        found = super().problems()
        if self.s3_endpoint and not (self.s3_access_key and self.s3_secret_key):
            found.append("s3_endpoint: needs s3_access_key and s3_secret_key")
        if "://" in self.s3_endpoint:
            found.append(f"s3_endpoint: must be host:port without a scheme, got {self.s3_endpoint!r}")
        if self.s3_part_bytes < _LEAST_PART_BYTES:
            found.append(f"s3_part_bytes: must be at least {_LEAST_PART_BYTES}, got {self.s3_part_bytes}")
        return found

    def s3(self) -> S3Config:
        """The S3 store, where one is set."""
        return S3Config(
            endpoint=self.s3_endpoint,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key,
            bucket=self.s3_bucket,
            prefix=self.s3_prefix,
            region=self.s3_region,
            secure=self.s3_secure,
            upload_part_bytes=self.s3_part_bytes,
        )


def open_blobs(config: StoreConfig, folder: Path) -> Blobs:
    """The S3 store, or without one the folder; no I/O yet."""
    return S3Blobs(config.s3()) if config.s3_endpoint else FileBlobs(folder)
