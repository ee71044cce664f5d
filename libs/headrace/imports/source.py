"""What a source tells of each run that it has."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from headrace.api.tracking.v1 import tracking_pb2
from headrace.records import DatasetInput, MetricHistory


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a run."""

    path: str
    """Relative to the run's files, with "/"."""
    size: int
    """Bytes."""
    open: Callable[[], BinaryIO]
    """Opens it at its beginning, as often as asked."""
    stamp: str = ""
    """Another one when it was written again, as far as the source can tell without reading it."""


@dataclass(frozen=True, slots=True)
class SourceRun:
    """A run as its tracker recorded it; reading it again tells the same, and what was added meanwhile."""

    run_id: str
    """32 hexadecimal digits, always the same for the same run: that is what makes an import repeatable."""
    experiment: str
    """Name of the experiment that it belongs to."""
    name: str
    user: str
    state: str
    """RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."""
    start_ms: int
    """Milliseconds since 1970-01-01 UTC."""
    end_ms: int | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    inputs: tuple[DatasetInput, ...]
    series: Callable[[], Iterator[MetricHistory]]
    """Reads the metrics, a series at a time; within a series the points in the order in which they were logged."""
    files: Callable[[], Iterator[SourceFile]]
    input_models: tuple[str, ...] = ()
    """Ids of logged models that it used."""
    output_models: tuple[tuple[str, int], ...] = ()
    """Ids of logged models that it made, each with the step."""
    deleted: bool = False
    """Whether it lies in its tracker's bin."""
    delete_ms: int | None = None
    """Since when, where that is known."""
    mark: str = ""
    """Another one wherever anything of the run may have changed; empty where the source cannot tell."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What the tracker has of the run and a Headrace has no place for, or what could not be read: how many of each kind.

    Complete when `series` and `files` have been read to their ends; 0 says as much as no entry.
    """


@dataclass(frozen=True, slots=True)
class SourceExperiment:
    """An experiment; one that nothing but the name is known of need not be told."""

    name: str
    wished_id: str = "0"
    """A whole number, which it gets where that is free."""
    request_id: str = ""
    """A UUID that stands for it, whatever its name."""
    tags: Mapping[str, str] = field(default_factory=dict)
    create_ms: int | None = None
    update_ms: int | None = None
    deleted: bool = False
    artifact_location: str = ""
    """Where clients keep the files of its runs by themselves; empty: in Headrace's store."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A logged model."""

    model_id: str
    """ "m-" and 32 hexadecimal digits."""
    experiment: str
    run_id: str
    """Empty where no run made it."""
    name: str
    model_type: str
    state: str
    """PENDING, READY or FAILED."""
    state_message: str
    user: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    create_ms: int
    update_ms: int
    metrics: tuple[tracking_pb2.ModelMetric, ...]
    files: Callable[[], Iterator[SourceFile]]
    deleted: bool = False
    mark: str = ""
    """As of a run."""


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """A version of a registered model."""

    number: int
    description: str
    user: str
    tags: Mapping[str, str]
    stage: str
    """None, Staging, Production or Archived."""
    source: str
    run_link: str
    run_id: str
    create_ms: int
    update_ms: int
    model_id: str = ""
    """Of the logged model whose files it has; empty where there is none."""
    made_of: SourceModel | None = None
    """The logged model to make of its files, where there is none and they can be read."""


@dataclass(frozen=True, slots=True)
class SourceRegisteredModel:
    """A registered model with all its versions."""

    name: str
    description: str
    tags: Mapping[str, str]
    create_ms: int
    update_ms: int
    last_version: int
    """The highest number ever given, as far as is known."""
    versions: tuple[SourceVersion, ...]
    aliases: Mapping[str, int]
