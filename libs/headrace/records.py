"""What the client answers with: plain read-only values made from the messages on the wire."""

import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.api.artifacts.v1 import artifacts_pb2
from headrace.api.deployment.v1 import deployment_pb2
from headrace.api.registry.v1 import registry_pb2
from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2
from headrace.optional import arrow, pandas

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named collection of runs."""

    id: str
    name: str
    deleted: bool
    tags: Mapping[str, str]
    create_time: datetime | None
    update_time: datetime | None

    @classmethod
    def of(cls, message: tracking_pb2.Experiment) -> "Experiment":
        """From the wire."""
        return cls(
            id=message.experiment_id,
            name=message.name,
            deleted=message.lifecycle_stage == tracking_pb2.LIFECYCLE_STAGE_DELETED,
            tags=dict(message.tags),
            create_time=time_in(message, "create_time"),
            update_time=time_in(message, "update_time"),
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """A set of data as it was when a run used it. The same name and digest is the same dataset."""

    name: str
    """1 to 500 characters."""
    digest: str
    """1 to 36 characters."""
    source: str = ""
    """Where the data came from: an address, a path, a query."""
    schema: str = ""
    """Column names and types, as JSON."""
    profile: str = ""
    """Counts and statistics, as JSON."""
    source_type: str = "local"


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset as one run used it."""

    dataset: Dataset
    context: str
    """What for: "training", "validation", ..."""
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the server knew it when it was asked."""

    run_id: str
    experiment_id: str
    name: str
    user: str
    state: str
    """RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."""
    deleted: bool
    start_time: datetime | None
    end_time: datetime | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    """The latest value of each series."""
    least: Mapping[str, float]
    """The least value that each series ever had, NaN left out; no entry where there is none."""
    greatest: Mapping[str, float]
    """The greatest, as `least`."""
    tags: Mapping[str, str]
    inputs: tuple[DatasetInput, ...] = field(repr=False)

    @classmethod
    def of(cls, message: tracking_pb2.Run) -> "Run":
        """From the wire."""
        metrics: dict[str, float] = {}
        least: dict[str, float] = {}
        greatest: dict[str, float] = {}
        for metric in sorted(message.metrics, key=attrgetter("key")):
            key = metric.key
            metrics[key] = metric.value
            # What is not 0 is there: that is told faster.
            if (lowest := metric.least) or metric.HasField("least"):
                least[key] = lowest
            if (highest := metric.greatest) or metric.HasField("greatest"):
                greatest[key] = highest
        return cls(
            run_id=message.run_id,
            experiment_id=message.experiment_id,
            name=message.name,
            user=message.user_id,
            state=tracking_pb2.Run.State.Name(message.state).removeprefix("STATE_"),
            deleted=message.lifecycle_stage == tracking_pb2.LIFECYCLE_STAGE_DELETED,
            start_time=time_in(message, "start_time"),
            end_time=time_in(message, "end_time"),
            params=dict(sorted(message.params.items())),
            metrics=metrics,
            least=least,
            greatest=greatest,
            tags=dict(sorted(message.tags.items())),
            inputs=tuple(map(_input, message.inputs)),
        )


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """All points of one series, in the order of (time, step, value); the columns have the same length.

    Each column is an `array` of 8-byte items: `numpy.asarray(history.values)` does not copy.
    """

    key: str
    steps: "array[int]" = field(default_factory=lambda: array("q"), repr=False)
    times_ms: "array[int]" = field(default_factory=lambda: array("q"), repr=False)
    """Milliseconds since 1970-01-01 UTC."""
    values: "array[float]" = field(default_factory=lambda: array("d"), repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, int, float]]:
        """The points as (step, time in ms, value)."""
        return iter(zip(self.steps, self.times_ms, self.values, strict=True))

    def extend(self, block: metrics_pb2.MetricBlock) -> None:
        """Puts the points of a block behind those that are here."""
        self.steps.extend(integers(block.steps))
        self.times_ms.extend(integers(block.time_ms))
        self.values.extend(floats(block.values))

    def to_arrow(self) -> "pa.Table":
        """A table with the columns step, time (UTC) and value. Needs pyarrow."""
        library = arrow()
        columns = (
            ("step", library.int64(), self.steps),
            ("time", library.timestamp("ms", "UTC"), self.times_ms),
            ("value", library.float64(), self.values),
        )
        table: pa.Table = library.table(
            {
                name: library.Array.from_buffers(kind, len(column), [None, library.py_buffer(column.tobytes())])
                for name, kind, column in columns
            }
        )
        return table

    def to_pandas(self) -> "pd.DataFrame":
        """A frame with the columns step, time (UTC) and value. Needs pandas."""
        library = pandas()
        times = library.to_datetime(list(self.times_ms), unit="ms", utc=True)
        frame: pd.DataFrame = library.DataFrame({"step": list(self.steps), "time": times, "value": list(self.values)})
        return frame


@dataclass(frozen=True, slots=True)
class MetricUpdate:
    """What changed a series that is watched."""

    run_id: str
    offset: int
    """So many points of the series stay as they are; what stood behind them is replaced by `points`."""
    points: MetricHistory

    def apply(self, history: MetricHistory) -> None:
        """Makes a history that had all updates before this one as the series is now."""
        for column, came in (
            (history.steps, self.points.steps),
            (history.times_ms, self.points.times_ms),
            (history.values, self.points.values),
        ):
            del column[self.offset :]
            column.extend(came)  # type: ignore[arg-type] # of the same kind


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that a run produced; its files are artifacts of the model."""

    id: str
    """ "m-" and 32 hexadecimal digits."""
    name: str
    experiment_id: str
    run_id: str
    """Empty where no run produced it."""
    model_type: str
    state: str
    """PENDING, READY or FAILED."""
    state_message: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    create_time: datetime | None

    @classmethod
    def of(cls, message: tracking_pb2.LoggedModel) -> "LoggedModel":
        """From the wire."""
        return cls(
            id=message.model_id,
            name=message.name,
            experiment_id=message.experiment_id,
            run_id=message.run_id,
            model_type=message.model_type,
            state=tracking_pb2.LoggedModel.State.Name(message.state).removeprefix("STATE_"),
            state_message=message.state_message,
            params=dict(message.params),
            tags=dict(message.tags),
            create_time=time_in(message, "create_time"),
        )


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A name under which versions gather."""

    name: str
    description: str
    latest_version: int
    """The highest one not deleted; 0 where there is none."""
    aliases: Mapping[str, int]
    tags: Mapping[str, str]
    create_time: datetime | None
    update_time: datetime | None

    @classmethod
    def of(cls, message: registry_pb2.Model) -> "RegisteredModel":
        """From the wire."""
        return cls(
            name=message.name,
            description=message.description,
            latest_version=message.latest_version,
            aliases=dict(sorted(message.aliases.items())),
            tags=dict(message.tags),
            create_time=time_in(message, "create_time"),
            update_time=time_in(message, "update_time"),
        )


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model."""

    name: str
    """Of the registered model."""
    version: int
    model_id: str
    """The logged model whose files it serves."""
    run_id: str
    state: str
    """PENDING, READY or FAILED."""
    aliases: tuple[str, ...]
    description: str
    tags: Mapping[str, str]
    user: str
    create_time: datetime | None

    @classmethod
    def of(cls, message: registry_pb2.ModelVersion) -> "ModelVersion":
        """From the wire."""
        return cls(
            name=message.model_name,
            version=message.version,
            model_id=message.model_id,
            run_id=message.run_id,
            state=registry_pb2.ModelVersion.State.Name(message.state).removeprefix("STATE_"),
            aliases=tuple(message.aliases),
            description=message.description,
            tags=dict(message.tags),
            user=message.user_id,
            create_time=time_in(message, "create_time"),
        )


@dataclass(frozen=True, slots=True)
class Promotion:
    """An alias that points to a version now."""

    version: ModelVersion
    alias: str
    previous_version: int | None
    """The version that had the alias before; None where none had."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One process that serves one version."""

    id: str
    version: int
    state: str
    """STARTING, READY, DRAINING, STOPPED or FAILED."""
    message: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One alias of one model, kept answering requests."""

    name: str
    """The model's name, with "@alias" behind it unless the alias is "production"."""
    model: str
    alias: str
    state: str
    """DEPLOYING, SERVING, FAILED or STOPPED."""
    message: str
    wanted_version: int | None
    serving_version: int | None
    path: str
    """Where it answers, below the gateway's address."""
    instances: tuple[Instance, ...]
    create_time: datetime | None
    update_time: datetime | None

    @classmethod
    def of(cls, message: deployment_pb2.Deployment) -> "Deployment":
        """From the wire."""
        return cls(
            name=message.name,
            model=message.model_name,
            alias=message.alias,
            state=deployment_pb2.Deployment.State.Name(message.state).removeprefix("STATE_"),
            message=message.message,
            wanted_version=message.wanted_version or None,
            serving_version=message.serving_version or None,
            path=message.path,
            instances=tuple(_instance(each) for each in message.instances),
            create_time=time_in(message, "create_time"),
            update_time=time_in(message, "update_time"),
        )


@dataclass(frozen=True, slots=True)
class DeploymentChange:
    """An entry in the history of a deployment."""

    time: datetime | None
    version: int
    what: str
    message: str

    @classmethod
    def of(cls, message: deployment_pb2.HistoryEntry) -> "DeploymentChange":
        """From the wire."""
        return cls(time_in(message, "time"), message.version, message.what, message.message)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file kept for a run or a model."""

    id: str
    path: str
    size_bytes: int
    sha256: str
    """In hexadecimal digits."""
    media_type: str
    create_time: datetime | None

    @classmethod
    def of(cls, message: artifacts_pb2.Artifact) -> "Artifact":
        """From the wire."""
        return cls(
            id=message.artifact_id,
            path=message.path,
            size_bytes=message.size_bytes,
            sha256=message.sha256.hex(),
            media_type=message.media_type,
            create_time=time_in(message, "create_time"),
        )


def timestamp(time: datetime) -> Timestamp:
    """A time for the wire; one without a zone is local time, as Python takes it."""
    made = Timestamp()
    made.FromDatetime(time.astimezone(UTC))
    return made


def time_in(message: Message, name: str) -> datetime | None:
    """The time in this field, in UTC; None where it is absent."""
    if not message.HasField(name):
        return None
    found: Timestamp = getattr(message, name)
    # As ToDatetime does, in half its time; `fromtimestamp` takes nothing before 1970 on Windows.
    return _EPOCH + timedelta(seconds=found.seconds, microseconds=found.nanos // 1000)


def _input(message: tracking_pb2.DatasetInput) -> DatasetInput:
    dataset = Dataset(
        name=message.dataset.name,
        digest=message.dataset.digest,
        source=message.dataset.source,
        schema=message.dataset.schema,
        profile=message.dataset.profile,
        source_type=message.dataset.source_type,
    )
    tags = dict(message.tags)
    return DatasetInput(dataset, tags.pop("mlflow.data.context", ""), tags)


def _instance(message: deployment_pb2.Instance) -> Instance:
    state = deployment_pb2.Instance.State.Name(message.state).removeprefix("STATE_")
    return Instance(message.instance_id, message.version, state, message.message, time_in(message, "create_time"))


def integers(data: bytes) -> "array[int]":
    """A column as it comes on the wire: little-endian int64."""
    return _column("q", data)


def floats(data: bytes) -> "array[float]":
    """As `integers`, of doubles."""
    return _column("d", data)


def _column(kind: str, data: bytes) -> "array[Any]":
    column: array[Any] = array(kind, data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
