"""What the fields of a request may hold; pure. Every function raises InvalidField, naming the field and the limit."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.api.tracking.v1 import tracking_pb2
from headrace_kit.errors import InvalidField

KEY: Final = 250
PARAM_VALUE: Final = 6_000
RUN_TAG_VALUE: Final = 8_000
EXPERIMENT_TAG_VALUE: Final = 20_000
EXPERIMENT_NAME: Final = 500
ARTIFACT_LOCATION: Final = 2_048
ARTIFACT_ROOT: Final = 1_900
RUN_NAME: Final = 250
USER_ID: Final = 250
MODEL_NAME: Final = 256
MODEL_TYPE: Final = 250
STATE_MESSAGE: Final = 8_000
DATASET_NAME: Final = 500
DATASET_DIGEST: Final = 36
DATASET_SOURCE_TYPE: Final = 250
DATASET_SOURCE: Final = 65_535
DATASET_SCHEMA: Final = 1_048_575
DATASET_PROFILE: Final = 16_777_215
INPUT_TAG_KEY: Final = 255
INPUT_TAG_VALUE: Final = 500
MODELS_OF_RUN: Final = 1_000
MEASURED: Final = 10_000
RUNS_READ: Final = 100
KEYS_READ: Final = 1_000

LEAST_INT64: Final = -(2**63)
MOST_INT64: Final = 2**63 - 1

DOCUMENT_BYTES: Final = 480 << 10
"""Most bytes of all params, or all tags, of one resource: an event that carries both fits in a record of 1 MiB."""
INPUTS_BYTES: Final = 4 << 20
"""Most bytes of all inputs of one run: a run with all that it holds fits in a message of 8 MiB."""
_ENTRY_BYTES: Final = 8  # what an entry takes beside its key and value, at most, as protobuf

_KEY: Final = re.compile(r"[/\w.\- :]*")
_EXPERIMENT_ID: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{32}")
_MODEL_NAME_REFUSED: Final = frozenset("/:.%\"'")
_MOST_MS: Final = 253_402_300_799_999  # 9999-12-31, where protobuf's timestamps end


def text(field: str, value: str, most: int, *, least: int = 0) -> str:
    """The text, when it has so many characters and none of them is NUL, which PostgreSQL cannot keep."""
    if not least <= len(value) <= most:
        raise InvalidField(
            field, f"must have {f'{least} to' if least else 'at most'} {most:,} characters, got {len(value):,}"
        )
    if "\x00" in value:
        raise InvalidField(field, "must not hold the character NUL")
    return value


def run_ids(values: Sequence[str]) -> list[UUID]:
    """The field `run_ids` of a request that reads many runs; repeats stay."""
    count("run_ids", values, RUNS_READ, least=1)
    return [run_id(f"run_ids[{at}]", one) for at, one in enumerate(values)]


def count(field: str, values: Sequence[object], most: int, *, least: int = 0) -> None:
    """So many may a repeated field hold."""
    if not least <= len(values) <= most:
        raise InvalidField(field, f"must hold {f'{least} to' if least else 'at most'} {most:,}, got {len(values):,}")


def key(field: str, value: str) -> str:
    """The key of a param, a tag or a metric."""
    if not 1 <= len(value) <= KEY:
        raise InvalidField(field, f"keys must have 1 to {KEY} characters, got {len(value):,}: {value[:40]!r}")
    if not _KEY.fullmatch(value):
        raise InvalidField(field, f'keys may hold letters, digits, "_", "-", ".", " ", ":" and "/", got {value!r}')
    # Keys become paths in artifact views and charts: one spelling for each, and none that climbs.
    if posixpath.normpath(value) != value or value.startswith(("/", "..")) or value == ".":
        raise InvalidField(field, f'keys with "/" must be plain relative paths such as "train/loss", got {value!r}')
    return value


def entries(field: str, values: Mapping[str, str], most: int) -> dict[str, str]:
    """Params or tags with values of at most `most` characters."""
    for name, value in values.items():
        text(f"{field}[{key(field, name)}]", value, most)
    document(field, values)
    return dict(values)


def document(field: str, values: Mapping[str, str]) -> None:
    """All params, or all tags, that one resource is to have."""
    size = sum(len(k.encode()) + len(v.encode()) + _ENTRY_BYTES for k, v in values.items())
    if size > DOCUMENT_BYTES:
        raise InvalidField(
            field, f"would take {size:,} bytes together; at most {DOCUMENT_BYTES:,} are kept. Store more as an artifact"
        )


def inputs(field: str, values: Sequence[tracking_pb2.DatasetInput]) -> None:
    """Datasets and what they were used for."""
    for number, one in enumerate(values):
        where, dataset = f"{field}[{number}]", one.dataset
        text(f"{where}.dataset.name", dataset.name, DATASET_NAME, least=1)
        text(f"{where}.dataset.digest", dataset.digest, DATASET_DIGEST, least=1)
        text(f"{where}.dataset.source_type", dataset.source_type, DATASET_SOURCE_TYPE)
        text(f"{where}.dataset.source", dataset.source, DATASET_SOURCE)
        text(f"{where}.dataset.schema", dataset.schema, DATASET_SCHEMA)
        text(f"{where}.dataset.profile", dataset.profile, DATASET_PROFILE)
        for key_, value in one.tags.items():
            text(f"{where}.tags[{text(f'{where}.tags', key_, INPUT_TAG_KEY, least=1)}]", value, INPUT_TAG_VALUE)


def inputs_bytes(field: str, size: int, most: int) -> None:
    """What inputs take together."""
    if size > most:
        raise InvalidField(
            field, f"would take {size:,} bytes together, at most {most:,} are kept; log fewer or shorter ones"
        )


def model_name(field: str, value: str) -> str:
    """The name of a logged model."""
    text(field, value, MODEL_NAME, least=1)
    if not _MODEL_NAME_REFUSED.isdisjoint(value):
        raise InvalidField(field, f'must not hold "/", ":", ".", "%" or quotes, got {value!r}')
    return value


def experiment_id(field: str, value: str) -> int:
    """The number behind an experiment's id."""
    if not _EXPERIMENT_ID.fullmatch(value) or int(value) >= 2**63:
        raise InvalidField(field, f'must be an integer such as "0" or "17", got {value[:40]!r}')
    return int(value)


def run_id(field: str, value: str) -> UUID:
    """32 hexadecimal digits."""
    if not _HEX.fullmatch(value):
        raise InvalidField(field, f"must be 32 hexadecimal digits, got {value[:40]!r}")
    return UUID(value)


def model_id(field: str, value: str) -> UUID:
    """What follows the "m-" of a logged model's id: 32 hexadecimal digits."""
    if not value.startswith("m-") or not _HEX.fullmatch(value[2:]):
        raise InvalidField(field, f'must be "m-" and 32 hexadecimal digits, got {value[:40]!r}')
    return UUID(value[2:])


def request_id(field: str, value: str) -> UUID | None:
    """A UUID, or nothing."""
    try:
        return UUID(value) if value else None
    except ValueError:
        raise InvalidField(field, f"must be a UUID, got {value[:40]!r}") from None


def time_ms(field: str, value: Timestamp) -> int:
    """Milliseconds since 1970-01-01 UTC; what is finer is cut off."""
    time = value.seconds * 1000 + value.nanos // 1_000_000
    if not 0 <= time <= _MOST_MS or not 0 <= value.nanos < 1_000_000_000:
        raise InvalidField(field, f"must lie in the years 1970 to 9999, got {value.seconds} s and {value.nanos} ns")
    return time


def span(start: tuple[str, int | None], end: tuple[str, int | None]) -> tuple[int, int]:
    """The least and the greatest number n with start <= n < end, each given as its field and its value; None does not limit."""
    (_, first), (field, behind) = start, end
    least = LEAST_INT64 if first is None else first
    greatest = MOST_INT64 if behind is None else behind - 1
    if behind is not None and least > greatest:
        raise InvalidField(field, f"must lie above {start[0]}, which is {least}, got {behind}")
    return least, greatest
