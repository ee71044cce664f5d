"""Runs that the client of Weights & Biases left on disk: `wandb/offline-run-*/run-*.wandb`, and `run-*` of online runs."""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from headrace import errors
from headrace.imports import fitting
from headrace.imports.report import Report
from headrace.imports.source import SourceFile, SourceRun
from headrace.imports.wandb_log import RecordLog
from headrace.imports.wandb_records import Record, Tree, Unread, Unreadable, flat, put, remove, value
from headrace.records import MetricHistory

STALE_S: Final = 3600.0
"""A run without an end whose file nobody wrote to for so long was killed. A live one writes every 15 s."""
_OWN: Final = frozenset({"_step", "_runtime", "_timestamp", "_wandb"})  # wandb's own entries of rows, summary, config
_TABLE: Final = "run_table"  # artifacts that repeat a table which is a file of the run, too


def read(path: Path, report: Report, clock: Callable[[], float] = time.time) -> Iterator[SourceRun]:
    """The runs below a folder, or of one `.wandb` file; the files of a run that was resumed make one run.

    What cannot be read is told to the report. Raises InvalidRequest where there is no such file.
    """
    logs = [path] if path.is_file() else sorted(path.rglob("run-*.wandb"))
    if not logs:
        raise errors.InvalidRequest(
            f"{path}: no run-*.wandb file is here or below;"
            " name a folder such as wandb/, or wandb/offline-run-20260102_030405-abcd1234"
        )
    found: dict[tuple[str, str, str], list[Path]] = {}
    for file in logs:
        try:
            run = next((record.run for record in _records(file) if record.HasField("run")), None)
        except (errors.InvalidRequest, OSError) as error:
            report.fail(str(file), error)
            continue
        if run is None:
            report.note(f"{file} tells of no run: it was cut off before, or is still empty")
        else:
            found.setdefault((run.entity, run.project, run.run_id), []).append(file)
    for files in found.values():
        reading = _Reading()
        try:
            for file in sorted(files, key=lambda file: file.parent.name.removeprefix("offline-")):  # by their times
                reading.add(file)
            yield reading.run(clock() - max(file.stat().st_mtime for file in files) > STALE_S)
        except OSError as error:
            report.fail(", ".join(map(str, files)), error)


def _records(file: Path, left_out: Counter[str] | None = None) -> Iterator[Any]:
    left_out = Counter() if left_out is None else left_out
    with file.open("rb") as opened:
        log = RecordLog(opened)
        for data in log:
            try:
                yield Record.FromString(data)
            except DecodeError:
                left_out["bytes that cannot be read"] += len(data)
        left_out["bytes that cannot be read"] += log.lost


class _Reading:
    """What the files of one run say, the oldest first."""

    def __init__(self) -> None:
        self._run: Any = None
        self._exit: Any = None
        self._environment: dict[str, str] = {}
        self._config: Tree = {}
        self._summary: Tree = {}
        self._series: dict[str, MetricHistory] = {}
        self._names = fitting.Names(fitting.key)
        self._artifacts: list[Any] = []
        self._folders: list[Path] = []
        self._stats = 0
        self._start_ms = 0
        self._last_ms = 0
        self._last_step = -1
        self._shift = 0
        self._goes_on = False
        self._left_out: Counter[str] = Counter()

    def add(self, file: Path) -> None:
        self._exit = None  # of a file before this one: the run went on
        self._shift, self._goes_on = 0, self._last_step >= 0
        self._folders.append(file.parent / "files")
        for record in _records(file, self._left_out):
            for described, message in record.ListFields():
                getattr(self, f"_take_{described.name}")(message)

    def run(self, stale: bool) -> SourceRun:
        """`stale` says that nobody writes to its files any more."""
        run = self._run
        summary = self._summarized()
        params, long_params = fitting.texts(self._params(), fitting.MOST_PARAM, "params")
        tags, long_tags = fitting.texts({**self._tags(), **summary}, fitting.MOST_TAG, "tags")
        end_ms = max(self._last_ms, self._start_ms + (self._exit.runtime * 1000 if self._exit else 0))
        self._left_out["names spelled otherwise"] = self._names.changed
        return SourceRun(
            run_id=fitting.run_id("wandb", run.entity, run.project, run.run_id),
            experiment=run.project or "uncategorized",
            name=run.display_name or run.run_id,
            user=self._environment.get("username") or self._environment.get("email", ""),
            state=self._state(stale),
            start_ms=self._start_ms,
            end_ms=end_ms if self._exit or stale else None,
            params=params,
            tags=tags,
            inputs=(),
            series=lambda: iter(self._series.values()),
            files=partial(self._files, long_params + long_tags),
            left_out=self._left_out,
        )

    def _state(self, stale: bool) -> str:
        if not self._exit:
            return "KILLED" if stale else "RUNNING"
        return "FAILED" if self._exit.exit_code else "FINISHED"

    def _take_run(self, run: Any) -> None:
        if self._run is None:
            self._run = run
            self._start_ms = self._last_ms = _ms(run.start_time)
        else:  # a later one tells what was changed since, and a resumed run's only what was asked for then
            if run.tags:
                self._run.ClearField("tags")
            self._run.MergeFrom(run)
        self._take_config(run.config)
        self._take_summary(run.summary)

    def _take_environment(self, environment: Any) -> None:
        for described, text in environment.ListFields():
            self._environment[described.name] = text

    def _take_config(self, changes: Any) -> None:
        put(self._config, changes.update, Unread)
        remove(self._config, changes.remove)

    def _take_summary(self, changes: Any) -> None:
        put(self._summary, changes.update, Unread)
        remove(self._summary, changes.remove)

    def _take_exit(self, message: Any) -> None:
        self._exit = message

    def _take_alert(self, message: Any) -> None:  # noqa: ARG002
        self._left_out["alerts"] += 1

    def _take_artifact(self, artifact: Any) -> None:
        if artifact.type != _TABLE:
            self._artifacts.append(artifact)

    def _take_stats(self, stats: Any) -> None:
        time_ms = self._seen(_ms(stats.timestamp))
        for item in stats.item:
            self._point(f"system/{item.key}", value(item.value_json), self._stats, time_ms)
        self._stats += 1

    def _take_history(self, history: Any) -> None:
        row: Tree = {}
        put(row, history.item, value)
        own = {name: row.pop(name) for name in _OWN if name in row}
        step = history.step.num if history.HasField("step") else own.get("_step", 0)
        if self._goes_on:  # offline it counts from 0 once more, and W&B counts on when it gets to know of it
            self._shift = self._last_step + 1 if step == 0 and self._run.resume else 0
            self._goes_on = False
        self._last_step = step + self._shift
        at = own.get("_timestamp")
        time_ms = self._seen(int(at * 1000)) if isinstance(at, int | float) and math.isfinite(at) else self._last_ms
        for name, one in flat(row):
            self._point(name, one, self._last_step, time_ms)

    def _point(self, name: str, one: Any, step: int, time_ms: int) -> None:
        match one:
            case bool() | int() | float():
                with suppress(OverflowError):  # an integer above all doubles
                    number = float(one)
                    history = self._series.get(name) or self._series.setdefault(name, MetricHistory(self._names(name)))
                    history.steps.append(step)
                    history.times_ms.append(time_ms)
                    history.values.append(number)
                    return
                kind = "integers too large in the history"
            case {"_type": _, "path": _}:
                return  # a file of the run
            case {"_type": kind}:
                kind = f"{kind}s in the history"
            case str():
                kind = "texts in the history"
            case Unreadable():
                kind = "values that cannot be read"
            case _:
                kind = "lists and nulls in the history"
        self._left_out[kind] += 1

    def _seen(self, time_ms: int) -> int:
        self._last_ms = max(self._last_ms, time_ms)
        return time_ms

    def _params(self) -> dict[str, str]:
        names = fitting.Names(fitting.key)
        config = {name: one for name, one in self._config.items() if name not in _OWN}
        params = {names(name): _text(one) for name, one in flat(config)}
        self._left_out["names spelled otherwise"] += names.changed
        return params

    def _summarized(self) -> dict[str, str]:
        """What the summary says and the history does not: a number of a run that has ended becomes a series of one point,
        so that runs can be sorted by it; the rest are tags.
        """
        tags = {}
        names = fitting.Names(fitting.key)
        summary = {name: one for name, one in self._summary.items() if name not in _OWN}
        for name, one in flat(summary):
            number = isinstance(one, int | float)
            history = self._series.get(name)
            if isinstance(one, dict) or (number and history and _same(history.values[-1], one)):
                continue  # a medium is in the history, too
            if number and not history and self._exit:
                self._point(name, one, max(self._last_step, 0), self._last_ms)
            else:
                tags[names(f"wandb.summary.{name}")] = _text(one)
        return tags

    def _tags(self) -> dict[str, str]:
        run = self._run
        tags = {
            "mlflow.note.content": run.notes,
            "mlflow.source.name": self._environment.get("program", ""),
            "mlflow.source.git.commit": run.git.commit,
            "mlflow.source.git.repoURL": run.git.remote_url,
            "wandb.run_id": run.run_id,
            "wandb.entity": run.entity,
            "wandb.project": run.project,
            "wandb.group": run.run_group,
            "wandb.job_type": run.job_type,
            "wandb.sweep_id": run.sweep_id,
            "wandb.host": run.host,
            "wandb.tags": ",".join(run.tags),
        }
        return {name: text for name, text in tags.items() if text}

    def _files(self, long: list[SourceFile]) -> Iterator[SourceFile]:
        """Files of the run, and those of its artifacts that are still here, as `artifacts/<name>/v<number>/<path>`."""
        names = fitting.Names(fitting.path)
        files: dict[str, Path] = {}  # of a resumed run, the file of the later part
        for folder in self._folders:
            files.update((file.relative_to(folder).as_posix(), file) for file in _walk(folder))
        versions: Counter[str] = Counter()
        for artifact in self._artifacts:
            place = f"artifacts/{artifact.name}/v{versions[artifact.name]}"
            versions[artifact.name] += 1
            files.update((f"{place}/{entry.path}", Path(entry.local_path)) for entry in artifact.manifest.contents)
        gone = 0
        for relative, file in files.items():
            if file.is_file():
                yield fitting.on_disk(names(relative), file)
            else:
                gone += 1
        yield from long
        self._left_out["files that are not on this disk"] = gone


def _walk(folder: Path) -> Iterator[Path]:
    """Files and links, which wandb makes of files that a program saves."""
    for place, _, files in os.walk(folder):
        yield from sorted(Path(place) / file for file in files)


def _ms(time: Any) -> int:
    return int(time.seconds * 1000 + time.nanos // 1_000_000)


def _text(one: Any) -> str:
    """As MLflow's client spells it."""
    return "" if isinstance(one, Unreadable) else str(one)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
