"""What a source tells of each run that it has."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

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
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What the tracker has of the run and a Headrace has no place for, or what could not be read: how many of each kind.

    Complete when `series` and `files` have been read to their ends; 0 says as much as no entry.
    """
