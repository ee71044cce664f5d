"""What artifacts may be called and what an upload must bring; pure."""

import contextlib
import hashlib
import mimetypes
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote
from uuid import UUID

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.common.v1 import error_reason_pb2
from headrace_kit import paging
from headrace_kit.errors import DomainError, InvalidField

MOST_PART_BYTES: Final = 1 << 20
MOST_PATH_CHARACTERS: Final = 1000
MOST_PATH_BYTES: Final = 2000  # an index entry of PostgreSQL holds 2,704, tenant and owner included
MOST_MEDIA_TYPE_CHARACTERS: Final = 255
MOST_VALID_S: Final = 604_800
DEFAULT_VALID_S: Final = 900
MOST_PAGE_BYTES: Final = 3 << 20  # clients of other makers take 4 MiB

_RUN: Final = re.compile(r"[0-9a-f]{32}")
_MODEL: Final = re.compile(r"m-[0-9a-f]{32}")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # RFC 9110, 5.6.2
_MEDIA_TYPE: Final = re.compile(rf"{_WORD}/{_WORD}( *; *{_WORD}=({_WORD}|\"[ !#-\[\]-~]*\"))*")
_DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
_KNOWN_TYPES: Final = mimetypes.MimeTypes()  # the table of the standard library; none of this machine's
_MOST_DECODINGS: Final = 5


@dataclass(frozen=True, slots=True)
class Header:
    """What an upload is to become."""

    owner_id: str
    path: str
    media_type: str


def header(request: pb.UploadArtifactRequest) -> Header:
    """The header, checked; of the first message of an upload. Raises InvalidField, or NotFound for an impossible owner."""
    if request.WhichOneof("message") != "header":
        raise InvalidField("header", "must be the first message of an upload")
    path = artifact_path(request.header.path, "header.path")
    return Header(
        owner_id=owner_id(request.header.owner, "header.owner"),
        path=path,
        media_type=media_type(request.header.media_type, path, "header.media_type"),
    )


def owner_id(owner: artifacts_pb2.Owner, field: str) -> str:
    """The id of the run or model; "m-" tells which. Raises InvalidField when none is named, RUN_NOT_FOUND and
    LOGGED_MODEL_NOT_FOUND when nothing can have the id.
    """
    match owner.WhichOneof("owner"):
        case "run_id":
            if not _RUN.fullmatch(owner.run_id):
                raise DomainError(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, f"no run has the id {owner.run_id!r}")
            return owner.run_id
        case "model_id":
            if not _MODEL.fullmatch(owner.model_id):
                raise DomainError(
                    error_reason_pb2.ERROR_REASON_LOGGED_MODEL_NOT_FOUND, f"no model has the id {owner.model_id!r}"
                )
            return owner.model_id
        case _:
            raise InvalidField(field, "must name a run or a model")


def owner(owner_id: str) -> artifacts_pb2.Owner:
    """The inverse of `owner_id`."""
    if owner_id.startswith("m-"):
        return artifacts_pb2.Owner(model_id=owner_id)
    return artifacts_pb2.Owner(run_id=owner_id)


def artifact_path(path: str, field: str) -> str:
    """The path itself. Raises InvalidField.

    Here a path is data, but clients make files of it: it must be harmless also to one that decodes it first, so it is
    looked at in every decoding ("%252e" is "%2e" is ".").
    """
    if not path:
        raise InvalidField(field, f"must be 1 to {MOST_PATH_CHARACTERS:,} characters")
    size = len(path.encode())
    if len(path) > MOST_PATH_CHARACTERS or size > MOST_PATH_BYTES:
        raise InvalidField(
            field,
            f"must be at most {MOST_PATH_CHARACTERS:,} characters and {MOST_PATH_BYTES:,} bytes of UTF-8,"
            f" got {len(path):,} and {size:,}",
        )
    decoded = path
    for _ in range(_MOST_DECODINGS):
        problem = _path_problem(decoded)
        if problem:
            raise InvalidField(field, f"{problem}; got {path!r}")
        before, decoded = decoded, unquote(decoded)
        if decoded == before:
            return path
    raise InvalidField(field, f"must not be percent-encoded {_MOST_DECODINGS} times over; got {path!r}")


def _path_problem(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or _DRIVE.match(path):
        return 'must be relative, such as "plots/roc.png"'
    if not all(parts):
        return 'must have no empty part ("//", or "/" at the end)'
    if "." in parts or ".." in parts:
        return 'must have no "." or ".." part'
    if "\\" in path:
        return 'must have "/" between its parts and no backslash'
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in path):
        return "must have no control character"
    return ""


def folder_path(folder: str) -> str:
    """The folder without a "/" at its end; empty for all. Raises InvalidField."""
    return artifact_path(folder.removesuffix("/"), "folder") if folder else ""


def folder_in(folder: str, path: str) -> str:
    """The folder that is directly in `folder` (empty: the top) and has the file at this path; empty where the file itself is."""
    start = len(folder) + 1 if folder else 0
    name, below, _ = path[start:].partition("/")
    return path[:start] + name if below else ""


def page_key(key: Sequence[object] | None) -> str:
    """The path that a page begins behind. Raises InvalidField for one that no artifact can have."""
    match key:
        case None:
            return ""
        case [str(path)]:
            with contextlib.suppress(InvalidField, UnicodeError):
                return artifact_path(path, "page_token")
    raise paging.invalid_token()


def fitting(page: Iterable[artifacts_pb2.Artifact]) -> Iterator[artifacts_pb2.Artifact]:
    """As many of the page as one answer may hold, at least the first: 10,000 long paths are more than gRPC passes."""
    size = 0
    for artifact in page:
        size += artifact.ByteSize()
        if size > MOST_PAGE_BYTES:
            return
        yield artifact


def media_type(text: str, path: str, field: str) -> str:
    """The media type; guessed from the name where none is given. Raises InvalidField."""
    if not text:
        return _KNOWN_TYPES.guess_type(path)[0] or _DEFAULT_MEDIA_TYPE
    if len(text) > MOST_MEDIA_TYPE_CHARACTERS or not _MEDIA_TYPE.fullmatch(text):
        raise InvalidField(
            field,
            f'must be like "text/plain" (RFC 9110), at most {MOST_MEDIA_TYPE_CHARACTERS} characters; got {text[:300]!r}',
        )
    return text


def part(data: bytes) -> bytes:
    """The part itself. Raises InvalidField."""
    if not 1 <= len(data) <= MOST_PART_BYTES:
        raise InvalidField("part", f"must be 1 to {MOST_PART_BYTES:,} bytes, got {len(data):,}")
    return data


def check_trailer(trailer: pb.UploadTrailer, size: int, sha256: bytes) -> None:
    """Compares what was announced with what came. Raises InvalidField and DIGEST_MISMATCH."""
    if len(trailer.sha256) != hashlib.sha256().digest_size:
        raise InvalidField("trailer.sha256", f"must be 32 bytes, got {len(trailer.sha256)}")
    if trailer.size_bytes != size:
        raise InvalidField(
            "trailer.size_bytes",
            f"must be the size of all parts, got {trailer.size_bytes:,} and {size:,} bytes of parts",
            reason=error_reason_pb2.ERROR_REASON_DIGEST_MISMATCH,
        )
    if trailer.sha256 != sha256:
        raise InvalidField(
            "trailer.sha256",
            f"must be the SHA-256 of all parts, got {trailer.sha256.hex()}, the parts have {sha256.hex()}",
            reason=error_reason_pb2.ERROR_REASON_DIGEST_MISMATCH,
        )


def offset(number: int, size: int) -> int:
    """The offset of a download. Raises InvalidField."""
    if not 0 <= number <= size:
        raise InvalidField("offset", f"must be 0 to {size:,}, the size of the file; got {number:,}")
    return number


def length(number: int) -> int | None:
    """How much of a file is asked for; None for all. Raises InvalidField."""
    if number < 0:
        raise InvalidField("length", f"must be 0, for all, or more; got {number:,}")
    return number or None


def valid_seconds(number: int) -> int:
    """How long a ticket is to last. Raises InvalidField."""
    if not 0 <= number <= MOST_VALID_S:
        raise InvalidField("valid_seconds", f"must be 1 to {MOST_VALID_S}, or 0 for {DEFAULT_VALID_S}; got {number}")
    return number or DEFAULT_VALID_S


def artifact_id(text: str) -> UUID:
    """The id. Raises ARTIFACT_NOT_FOUND when no artifact can have it."""
    try:
        return UUID(text)
    except ValueError:
        raise artifact_not_found(f"the id {text!r}") from None


def blob_key(tenant_id: str, unique: UUID) -> str:
    """The name of a blob: opaque, of the store's grammar whatever a tenant is called."""
    return f"{hashlib.sha256(tenant_id.encode()).hexdigest()[:16]}/{unique}"


def artifact_not_found(which: str) -> DomainError:
    """`which`: "the id ..." or "the path ..."."""
    return DomainError(error_reason_pb2.ERROR_REASON_ARTIFACT_NOT_FOUND, f"no artifact has {which}")


def owner_purged(owner_id: str) -> DomainError:
    """The run or model went while a file came for it."""
    reason = (
        error_reason_pb2.ERROR_REASON_LOGGED_MODEL_NOT_FOUND
        if owner_id.startswith("m-")
        else error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND
    )
    return DomainError(reason, f"{owner_id} was purged; nothing was stored")


def given_up() -> DomainError:
    """The sweeper took what was still being uploaded."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_BACKEND_UNAVAILABLE,
        "the upload was given up for dead while it went on; upload the file again",
        retry_after_s=1,
    )


def truncated(why: str) -> DomainError:
    """An upload ended too early."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_UPLOAD_TRUNCATED, f"{why}; nothing was stored, upload the whole file again"
    )


def data_lost(what: str, why: str) -> DomainError:
    """The store gives something else than was stored."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_DATA_LOST,
        f"{what}: {why}; what was received must not be used, restore the store or upload the file again",
    )


def check_size(size: int, most: int) -> None:
    """Raises TOO_LARGE for an upload of more than `most` bytes."""
    if size > most:
        raise DomainError(
            error_reason_pb2.ERROR_REASON_TOO_LARGE,
            f"an artifact may have {most:,} bytes here, and this one has more; split it, or ask for a higher"
            " HEADRACE_ARTIFACT_MOST_BYTES",
        )


def out_of_order(kind: str | None) -> InvalidField:
    """A message that cannot stand between header and trailer."""
    if kind is None:
        return InvalidField("message", "must have a part or the trailer, is empty")
    return InvalidField(kind, "must be the first message of an upload, and only that")
