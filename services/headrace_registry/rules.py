"""What models, versions and aliases may look like and how they change; pure: rows in, rows out, times are arguments."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace.api.tracking.v1 import tracking_pb2
from headrace_kit import paging
from headrace_kit.errors import DomainError, InvalidField
from headrace_registry.store import ModelRow, RequestRow, VersionRow

NAME: Final = 256
DESCRIPTION: Final = 5_000
TAG_KEY: Final = 250
TAG_VALUE: Final = 100_000
ALIAS: Final = 255
RUN_ID: Final = 256
LOCATION: Final = 2_048
STAGES: Final = ("None", "Staging", "Production", "Archived")
ARCHIVED: Final = "Archived"

TAGS_BYTES: Final = 480 << 10
ALIASES: Final = 250
"""Of one model. With tags of `TAGS_BYTES`, a description and a name they fit in an event, a record of 1 MiB."""
PAGE_BYTES: Final = 4 << 20
"""A page ends before it is larger; an answer may have 8 MiB."""

PRODUCTION: Final = "production"
LATEST: Final = "latest"
_TAG_BYTES: Final = 16  # what a tag takes beside key and value, at most, as protobuf
_ALIAS: Final = re.compile(r"[\w\-]+")
_LIKE_A_NUMBER: Final = re.compile(r"[vV]\d+")

Row = TypeVar("Row", ModelRow, VersionRow)


def name(field: str, value: str) -> str:
    """The name of a model. Raises InvalidField."""
    _text(field, value, NAME, least=1)
    if "/" in value or ":" in value:
        raise InvalidField(field, f'must not hold "/" or ":", got {value!r}')
    return value


def version(field: str, value: int) -> int:
    """The number of a version. Raises InvalidField."""
    if value < 1:
        raise InvalidField(field, f"must be at least 1, got {value}")
    return value


def description(field: str, value: str) -> str:
    """A description. Raises InvalidField."""
    return _text(field, value, DESCRIPTION)


def tags(field: str, values: Mapping[str, str]) -> dict[str, str]:
    """Tags one by one; `with_tags` looks at them together. Raises InvalidField."""
    for key, value in values.items():
        _text(f"{field}[{_text(field, key, TAG_KEY, least=1)}]", value, TAG_VALUE)
    return dict(values)


def location(field: str, value: str) -> str:
    """A source or a link. Raises InvalidField."""
    return _text(field, value, LOCATION)


def stage(field: str, value: str) -> str:
    """A stage as it is kept, however it was written. Raises InvalidField."""
    known = {name.lower(): name for name in STAGES}
    if value.lower() not in known:
        raise InvalidField(field, f"must be {', '.join(STAGES[:-1])} or {STAGES[-1]}, got {value[:40]!r}")
    return known[value.lower()]


def staged(row: VersionRow, stage: str, now: datetime) -> VersionRow:
    """In this stage; the row itself where it is there already."""
    return row if row.stage == stage else replace(row, stage=stage, update_time=later(row, now))


def alias(field: str, value: str) -> str:
    """An alias to be written. Raises InvalidField."""
    if len(value) > ALIAS or not _ALIAS.fullmatch(value):
        raise InvalidField(
            field, f'must be 1 to {ALIAS} letters, digits, "_" and "-", got {value[:40]!r} ({len(value):,} characters)'
        )
    if value.lower() == LATEST or _LIKE_A_NUMBER.fullmatch(value):
        raise InvalidField(
            field, f'{value!r} is reserved: "latest" is the highest version, and "v" with a number looks like one'
        )
    return value


def alias_to_read(field: str, value: str) -> str:
    """An alias to look for; one that cannot exist is not found. Raises InvalidField."""
    return _text(field, value, ALIAS, least=1)


def sought_id(field: str, value: str) -> str:
    """The id of a run or of a logged model to look for, or nothing. Raises InvalidField."""
    return _text(field, value, RUN_ID)


def request_id(field: str, value: str) -> UUID | None:
    """A UUID, or nothing. Raises InvalidField."""
    try:
        return UUID(value) if value else None
    except ValueError:
        raise InvalidField(field, f"must be a UUID, got {value[:40]!r}") from None


def request_digest(request: pb.CreateModelVersionRequest) -> bytes:
    """What a request says, its id excepted."""
    plain = pb.CreateModelVersionRequest()
    plain.CopyFrom(request)
    plain.ClearField("request_id")
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).digest()


def check_repetition(known: RequestRow, digest: bytes) -> None:
    """Raises InvalidField when the id came with something else the first time."""
    if known.digest != digest:
        raise InvalidField(
            "request_id",
            f"was used for another request, which made version {known.version} of model {known.model_name!r};"
            " take a new UUID",
        )


def check_ready(model: tracking_pb2.LoggedModel) -> None:
    """Raises WRONG_STATE for a logged model that is not READY."""
    if model.state != tracking_pb2.LoggedModel.STATE_READY:
        state = tracking_pb2.LoggedModel.State.Name(model.state).removeprefix("STATE_")
        why = f" ({model.state_message})" if model.state_message else ""
        raise InvalidField(
            "model_id",
            f"must be of a logged model that is READY; {model.model_id} is {state}{why}",
            reason=error_reason_pb2.ERROR_REASON_WRONG_STATE,
        )


def check_mask(paths: Sequence[str]) -> None:
    """Raises InvalidField unless the mask names the description, the only field that an update changes."""
    if not paths or not {"description", "*"}.issuperset(paths):
        raise InvalidField("update_mask", f'must be "description", which alone can be updated; got {list(paths)}')


def check_etag(row: ModelRow | VersionRow, given: str, current: str) -> None:
    """Raises ETAG_MISMATCH; an empty one asks for nothing."""
    if given and given != current:
        raise DomainError(
            error_reason_pb2.ERROR_REASON_ETAG_MISMATCH,
            f"{_what(row)} has changed since etag {given[:40]!r} was read; read it again, then update",
        )


def etag(message: Message) -> str:
    """Of a message whose own etag is still empty: the same as long as nothing in it changes."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()[:16]


def described(row: Row, text: str, now: datetime) -> Row:
    """With this description; the row itself where it has it already."""
    return row if row.description == text else replace(row, description=text, update_time=later(row, now))


def with_tags(row: Row, values: Mapping[str, str], now: datetime) -> Row:
    """Adds tags and changes them; the row itself where that changes nothing. Raises InvalidField when they get too many."""
    merged = {**row.tags, **values}
    size = sum(len(key.encode()) + len(value.encode()) + _TAG_BYTES for key, value in merged.items())
    if size > TAGS_BYTES:
        raise InvalidField(
            "tags",
            f"would take {size:,} bytes together; at most {TAGS_BYTES:,} are kept. Delete some, or log an artifact",
        )
    return row if merged == row.tags else replace(row, tags=merged, update_time=later(row, now))


def without_tag(row: Row, key: str, now: datetime) -> Row:
    """Raises TAG_NOT_FOUND."""
    if key not in row.tags:
        raise DomainError(error_reason_pb2.ERROR_REASON_TAG_NOT_FOUND, f"{_what(row)} has no tag {key[:TAG_KEY]!r}")
    kept = {name: value for name, value in row.tags.items() if name != key}
    return replace(row, tags=kept, update_time=later(row, now))


def changed_tags(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The keys that are new or have another value, and those that are gone; in order."""
    was_set = [key for key, value in new.items() if old.get(key) != value]
    return sorted(was_set), sorted(old.keys() - new.keys())


def later(row: ModelRow | VersionRow, now: datetime) -> datetime:
    """The time of a change made now: never before the last, whatever the clocks of two processes say."""
    return max(now, row.update_time)


def check_room_for_alias(model: ModelRow, new: str) -> None:
    """Raises InvalidField when the model has too many aliases for one more."""
    if new not in model.aliases and len(model.aliases) >= ALIASES:
        raise InvalidField("alias", f"would be one more than the {ALIASES} that a model may have; delete one first")


def position(key: list[str | int | float | None] | None) -> tuple[datetime, int, str] | None:
    """Where a page of versions begins, from its token. Raises InvalidField for a token that no page can have."""
    match key:
        case None:
            return None
        case [str(time), int(number), str(model_name)]:
            try:
                return datetime.fromisoformat(time), number, model_name
            except ValueError:
                raise paging.invalid_token() from None
        case _:
            raise paging.invalid_token()


def page_length(messages: Sequence[Message], size: int) -> int:
    """How many of them a page of at most `size` takes: as many as fit in `PAGE_BYTES`, and at least one."""
    total = 0
    for count, message in enumerate(messages[:size]):
        total += message.ByteSize()
        if count and total > PAGE_BYTES:
            return count
    return min(len(messages), size)


def model_not_found(model_name: str) -> DomainError:
    """No such model, as far as the caller's tenant goes."""
    return DomainError(error_reason_pb2.ERROR_REASON_MODEL_NOT_FOUND, f"no model is called {model_name!r}")


def model_exists(model_name: str) -> DomainError:
    """The name is taken."""
    return DomainError(error_reason_pb2.ERROR_REASON_MODEL_EXISTS, f"a model called {model_name!r} exists already")


def version_not_found(model_name: str, number: int) -> DomainError:
    """The model is there, the version is not; 0 means any."""
    what = f"version {number}; it may be deleted" if number else "version yet"
    return DomainError(error_reason_pb2.ERROR_REASON_MODEL_VERSION_NOT_FOUND, f"model {model_name!r} has no {what}")


def alias_not_found(model_name: str, value: str) -> DomainError:
    """The model is there, the alias is not."""
    return DomainError(
        error_reason_pb2.ERROR_REASON_ALIAS_NOT_FOUND, f"model {model_name!r} has no alias {value[:ALIAS]!r}"
    )


def _text(field: str, value: str, most: int, *, least: int = 0) -> str:
    if not least <= len(value) <= most:
        raise InvalidField(
            field, f"must have {f'{least} to' if least else 'at most'} {most:,} characters, got {len(value):,}"
        )
    if "\x00" in value:
        raise InvalidField(field, "must not hold the character NUL")
    return value


def _what(row: ModelRow | VersionRow) -> str:
    if isinstance(row, ModelRow):
        return f"model {row.name!r}"
    return f"version {row.version} of model {row.model_name!r}"
