"""What an upload in parts must bring; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.common.v1 import error_reason_pb2
from headrace_artifacts import rules
from headrace_artifacts.parts_store import PartRow, UploadRow
from headrace_kit.errors import DomainError, InvalidField

MOST_PARTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class PartHeader:
    """Which part of which upload."""

    upload_id: UUID
    number: int


def part_count(count: int) -> int:
    """The count itself. Raises InvalidField."""
    if not 1 <= count <= MOST_PARTS:
        raise InvalidField("part_count", f"must be 1 to {MOST_PARTS:,}, got {count:,}; take larger parts")
    return count


def header(request: pb.UploadPartRequest) -> PartHeader:
    """The header, of the first message of a part. Raises InvalidField, and UPLOAD_NOT_FOUND for an impossible id."""
    if request.WhichOneof("message") != "header":
        raise InvalidField("header", "must be the first message of a part")
    return PartHeader(upload_id(request.header.upload_id), request.header.number)


def upload_id(text: str) -> UUID:
    """The id. Raises UPLOAD_NOT_FOUND when no upload can have it."""
    try:
        return UUID(text)
    except ValueError:
        raise upload_not_found(text) from None


def check_number(number: int, upload: UploadRow) -> None:
    """Raises InvalidField."""
    if not 1 <= number <= upload.part_count:
        raise InvalidField("header.number", f"must be 1 to {upload.part_count:,}, the upload's parts; got {number:,}")


def named_upload(
    upload: UploadRow | None, upload_id: UUID, request: pb.CompleteUploadRequest | pb.AbortUploadRequest
) -> UploadRow:
    """The upload, which is one to the path of the request where that names one. Raises UPLOAD_NOT_FOUND."""
    if upload is None:
        raise upload_not_found(upload_id)
    if request.HasField("path"):
        named = rules.owner_id(request.path.owner, "path.owner"), request.path.path
        if named != (upload.owner_id, upload.path):
            raise upload_not_found(upload_id, f" to the path {request.path.path!r}")
    return upload


def open_upload(upload: UploadRow | None, upload_id: UUID) -> UploadRow:
    """The upload, which takes parts still. Raises UPLOAD_NOT_FOUND and WRONG_STATE."""
    if upload is None or upload.state == "aborted":
        raise upload_not_found(upload_id)
    if upload.state == "completed":
        raise DomainError(error_reason_pb2.ERROR_REASON_WRONG_STATE, f"the upload {upload_id} is completed already")
    return upload


def all_parts(named: Sequence[pb.UploadedPart], stored: Sequence[PartRow], upload: UploadRow) -> list[PartRow]:
    """The parts in their order. Raises InvalidField unless every part is named once, and is stored as it was answered."""
    by_number = {part.number: part for part in stored}
    seen: set[int] = set()
    for index, one in enumerate(named):
        field = f"parts[{index}]"
        if one.number in seen:
            raise InvalidField(f"{field}.number", f"must not come twice, got {one.number} again")
        seen.add(one.number)
        part = by_number.get(one.number)
        if part is None:
            raise InvalidField(f"{field}.number", f"must be a part that was uploaded, and {one.number} was not")
        if part.sha256.hex() != one.etag:
            raise InvalidField(
                f"{field}.etag",
                f"must be that of the part as it was uploaded last; part {one.number} has {part.sha256.hex()},"
                f" got {one.etag[:100]!r}",
                reason=error_reason_pb2.ERROR_REASON_DIGEST_MISMATCH,
            )
    if len(seen) < upload.part_count:
        missing = next(number for number in range(1, upload.part_count + 1) if number not in seen)
        raise InvalidField(
            "parts", f"must name all {upload.part_count:,} parts of the upload, and {missing:,} is not among them"
        )
    return list(stored)


def check_unchanged(joined: Sequence[PartRow], stored: Sequence[PartRow]) -> None:
    """Raises DIGEST_MISMATCH when a part was replaced while all of them were read."""
    if list(joined) != list(stored):
        raise InvalidField(
            "parts",
            "must not be replaced while the upload is completed",
            reason=error_reason_pb2.ERROR_REASON_DIGEST_MISMATCH,
        )


def upload_not_found(upload_id: UUID | str, what: str = "") -> DomainError:
    """No such upload, or none any more."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_UPLOAD_NOT_FOUND,
        f"no upload{what} has the id {str(upload_id)[:100]!r}; it may have been aborted, or taken longer than it may",
    )
