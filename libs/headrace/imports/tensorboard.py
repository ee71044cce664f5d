"""Runs in event files of TensorBoard: each folder with `*tfevents*` files in it is one, as TensorBoard sees them."""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from google.protobuf.message import DecodeError

from headrace import errors
from headrace.imports import fitting
from headrace.imports import tensorboard_events as events
from headrace.imports.report import Report
from headrace.imports.source import SourceFile, SourceRun
from headrace.imports.tfrecord import RecordFile
from headrace.records import MetricHistory

STALE_S: Final = 3600.0
"""A run whose files nobody wrote to for so long has ended: event files do not say."""
_LEFT_OUT: Final = {"graph_def": "graphs", "meta_graph_def": "graphs", "tagged_run_metadata": "run metadata"}
_STATES: Final = {0: "FINISHED", 1: "FINISHED", 2: "FAILED"}  # by HParams' status; 3 is running


def read(path: Path, report: Report, clock: Callable[[], float] = time.time) -> Iterator[SourceRun]:
    """The runs below a log folder, or of one event file.

    What cannot be read is told to the report. Raises InvalidRequest where there is no such file.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*tfevents*"))
    folders: dict[Path, list[Path]] = {}
    for file in files:
        if file.is_file() and not file.name.endswith(".profile-empty"):
            folders.setdefault(file.parent, []).append(file)
    if not folders:
        raise errors.InvalidRequest(f"{path}: no event file of TensorBoard (*tfevents*) is here or below")
    top = (path.parent if path.is_file() else path).resolve()
    for folder, found in folders.items():
        try:
            reading = _Reading(top.name, folder.resolve().relative_to(top).as_posix(), found)
            yield reading.run(stale=clock() - max(file.stat().st_mtime for file in found) > STALE_S)
        except OSError as error:
            report.fail(str(folder), error)


@dataclass(frozen=True, slots=True)
class _Piece:
    """An image, a clip or a text in an event file, which is read again where it is wanted."""

    name: str
    size: int
    file: Path
    at: int
    value: int
    plugin: str
    number: int

    def open(self) -> BinaryIO:
        with self.file.open("rb") as file:
            file.seek(self.at)
            _, data = next(iter(RecordFile(file)))
        value = events.Event.FromString(data).summary.value[self.value]
        return io.BytesIO(events.pieces(value, self.plugin)[1][self.number])


class _Reading:
    """What the event files of one folder say, in the order of their names, which begin with a time.

    Points that a restart repeats stay beside those from before it: nothing that was logged is thrown away, though
    TensorBoard may hide the older ones.
    """

    def __init__(self, experiment: str, folder: str, files: list[Path]) -> None:
        self._experiment = experiment
        self._folder = folder
        self._first = files[0].name
        self._series: dict[str, MetricHistory] = {}
        self._keys = fitting.Names(fitting.key)
        self._paths = fitting.Names(fitting.path)
        self._plugins: dict[str, str] = {}
        self._pieces: list[_Piece] = []
        self._params: dict[str, str] = {}
        self._started: Any = None
        self._ended: Any = None
        self._opened_ms = self._first_ms = self._last_ms = 0
        self._left_out: Counter[str] = Counter()
        for file in files:
            self._take_file(file)

    def run(self, *, stale: bool) -> SourceRun:
        """`stale` says that nobody writes to its files any more."""
        params, long = fitting.texts(self._params, fitting.MOST_PARAM, "params")
        tags = {"tensorboard.run": self._folder}
        start_ms, end_ms = self._first_ms or self._opened_ms, self._last_ms or self._opened_ms
        if self._started is not None:
            start_ms = events.ms(self._started.start_time_secs) or start_ms
            tags |= {
                "tensorboard.group": self._started.group_name,
                "tensorboard.monitor_url": self._started.monitor_url,
            }
        if self._ended is not None:
            end_ms = events.ms(self._ended.end_time_secs) or end_ms
        state = self._state(stale)
        self._left_out["names spelled otherwise"] = self._keys.changed
        return SourceRun(
            run_id=fitting.run_id("tensorboard", self._folder, self._first),
            experiment=self._experiment,
            name=self._experiment if self._folder == "." else self._folder,
            user="",
            state=state,
            start_ms=start_ms,
            end_ms=None if state == "RUNNING" else end_ms,
            params=params,
            tags={name: text for name, text in tags.items() if text},
            inputs=(),
            series=lambda: iter(self._series.values()),
            files=partial(self._files, long),
            left_out=self._left_out,
        )

    def _state(self, stale: bool) -> str:
        if self._ended is not None and self._ended.status in _STATES:
            return _STATES[self._ended.status]
        if not stale:
            return "RUNNING"
        return "FINISHED" if self._started is None else "KILLED"  # its writer would have said that it ended

    def _take_file(self, file: Path) -> None:
        with file.open("rb") as opened:
            framed = RecordFile(opened)
            for at, data in framed:
                try:
                    self._take(events.Event.FromString(data), file, at)
                except DecodeError:
                    self._left_out["bytes that cannot be read"] += len(data)
            self._left_out["bytes that cannot be read"] += framed.lost

    def _take(self, event: Any, file: Path, at: int) -> None:
        time_ms = events.ms(event.wall_time) or self._last_ms
        self._opened_ms = self._opened_ms or time_ms
        if not event.summary.value:
            for field, kind in _LEFT_OUT.items():
                self._left_out[kind] += event.HasField(field)
            return
        self._first_ms = self._first_ms or time_ms  # writers may be given the times of these
        self._last_ms = max(self._last_ms, time_ms)
        for number, value in enumerate(event.summary.value):
            data = value.metadata.plugin_data
            plugin = self._plugins.setdefault(value.tag, data.plugin_name)  # only the first value of a tag may say
            if data.plugin_name == "hparams":
                self._take_hparams(events.HParams.FromString(data.content))
            elif value.HasField("simple_value"):
                self._point(value.tag, event.step, time_ms, value.simple_value)
            elif plugin == "scalars" and (one := events.number(value.tensor)) is not None:
                self._point(value.tag, event.step, time_ms, one)
            else:
                self._take_pieces(value, plugin, event.step, (file, at, number))

    def _take_hparams(self, data: Any) -> None:
        if data.HasField("session_start_info"):
            self._started = data.session_start_info
            self._ended = None  # a restart
            names = fitting.Names(fitting.key)
            self._params |= {names(name): text for name, text in events.hparams(self._started)}
        if data.HasField("session_end_info"):
            self._ended = data.session_end_info

    def _point(self, tag: str, step: int, time_ms: int, value: float) -> None:
        history = self._series.get(tag) or self._series.setdefault(tag, MetricHistory(self._keys(tag)))
        history.steps.append(step)
        history.times_ms.append(time_ms)
        history.values.append(value)

    def _take_pieces(self, value: Any, plugin: str, step: int, where: tuple[Path, int, int]) -> None:
        folder, found = events.pieces(value, plugin)
        if not folder:
            kind = "histograms" if value.HasField("histo") else plugin or "tensors"
            self._left_out[kind] += value.HasField("histo") or value.HasField("tensor")
        for number, data in enumerate(found):
            which = f"_{number}" if len(found) > 1 else ""
            name = self._paths.new(f"{folder}/{value.tag}/{step}{which}{events.suffix(folder, data)}")
            self._pieces.append(_Piece(name, len(data), *where, plugin, number))

    def _files(self, long: list[SourceFile]) -> Iterator[SourceFile]:
        for piece in self._pieces:
            yield SourceFile(piece.name, piece.size, piece.open)
        yield from long
