"""Runs of Neptune in the Parquet files and folders that neptune-exporter writes; its README describes their columns.

A folder a project, `<run>_part_<number>.parquet` in it, and the files of its runs in a folder of the same name beside.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import compute, parquet

from headrace import errors
from headrace.imports import fitting
from headrace.imports.report import Report
from headrace.imports.source import SourceFile, SourceRun
from headrace.records import MetricHistory

_FIRST: Final = "_part_0.parquet"
_VALUES: Final = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
    "file": "file_value",
    "file_series": "file_value",
    "file_set": "file_value",
    "artifact": "file_value",
    "float_series": "float_value",
    "string_series": "string_value",
    "histogram_series": "histogram_value",
}
"""The column that holds what an attribute of this type has."""
_POINT: Final = ["project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp", "float_value"]
_SERIES: Final = {"string_series": ".csv", "histogram_series": ".jsonl"}
_RUNNING: Final = frozenset({"running", "active"})


def read(path: Path, report: Report, files: Path | None = None, multiplier: int = 1) -> Iterator[SourceRun]:
    """The runs of an export: of its folder, of the data folder in that, or of one project's folder in that.

    `files` is the folder of its files, where it is not `files` beside the data; steps, which may have fractions in
    Neptune, are multiplied. What cannot be read is told to the report. Raises InvalidRequest where there is
    no run.
    """
    path = path.resolve()
    data = path / "data" if (path / "data").is_dir() else path
    firsts = sorted(data.glob(f"*{_FIRST}")) or sorted(data.glob(f"*/*{_FIRST}"))
    if not firsts:
        raise errors.InvalidRequest(
            f"{path}: no *{_FIRST} is here, in a folder here, or in one in data/;"
            " name the folder that neptune-exporter wrote to"
        )
    for left in sorted({file.parent for file in firsts}):
        for part in sorted(left.glob("*.parquet.tmp")):
            report.fail(str(part), "the export of this run was not finished; export it again")
    for first in firsts:
        stem = first.name.removesuffix(_FIRST)
        parts = sorted(first.parent.glob(f"{stem}_part_*.parquet"), key=lambda part: int(part.stem.rpartition("_")[2]))
        root = (files or first.parent.parent.parent / "files") / first.parent.name
        try:
            yield _Reading(parts, root, multiplier).run()
        except (pa.ArrowException, errors.InvalidRequest, OSError) as error:
            report.fail(str(first), error)


class _Reading:
    """What the parts of one run say."""

    def __init__(self, parts: list[Path], root: Path, multiplier: int) -> None:
        self._parts = parts
        self._root = root
        self._multiplier = multiplier
        self._project = self._run_id = ""
        self._attributes: dict[str, Any] = {}
        self._series: dict[str, MetricHistory] = {}
        self._keys = fitting.Names(fitting.key)
        self._files: list[tuple[str, Path]] = []  # by their wished paths
        self._texts: dict[str, str] = {}  # other series with their types
        self._left_out: Counter[str] = Counter()

    def run(self) -> SourceRun:
        for part in self._parts:
            for row in _rows(part):
                self._take(row)
        names = fitting.Names(fitting.key)
        texts = {name: _text(one) for name, one in self._attributes.items()}
        params = {names(name): text for name, text in texts.items() if not name.startswith("sys/")}
        tags = {names(f"neptune.{name}"): text for name, text in texts.items() if name.startswith("sys/")}
        tags |= {"neptune.project": self._project, "neptune.run_id": self._run_id}
        if description := texts.get("sys/description"):
            tags["mlflow.note.content"] = description
        params, long_params = fitting.texts(params, fitting.MOST_PARAM, "params")
        tags, long_tags = fitting.texts(tags, fitting.MOST_TAG, "tags")
        state = self._state()
        start_ms, end_ms = self._times()
        self._left_out["names spelled otherwise"] = self._keys.changed + names.changed
        return SourceRun(
            run_id=fitting.run_id("neptune", self._project, self._run_id),
            experiment=self._project,
            name=texts.get("sys/name") or texts.get("sys/custom_run_id") or self._run_id,
            user=texts.get("sys/owner", ""),
            state=state,
            start_ms=start_ms,
            end_ms=None if state == "RUNNING" else end_ms,
            params=params,
            tags=tags,
            inputs=(),
            series=lambda: iter(self._series.values()),
            files=partial(self._all_files, long_params + long_tags),
            left_out=self._left_out,
        )

    def _state(self) -> str:
        if self._attributes.get("sys/failed") is True:
            return "FAILED"
        return "RUNNING" if str(self._attributes.get("sys/state")).lower() in _RUNNING else "FINISHED"

    def _times(self) -> tuple[int, int]:
        """Neptune keeps how long a run ran; where an export lacks that, it ended when it was changed last."""
        seen = [time for history in self._series.values() for time in history.times_ms if time]
        created = self._attributes.get("sys/creation_time")
        start_ms = _ms(created) if created else min(seen, default=0)
        if ran_s := self._attributes.get("sys/running_time"):
            return start_ms, start_ms + int(ran_s * 1000)
        changed = self._attributes.get("sys/modification_time")
        return start_ms, max(start_ms, _ms(changed) if changed else max(seen, default=0))

    def _take(self, row: dict[str, Any]) -> None:
        self._project, self._run_id = row["project_id"], row["run_id"]
        name, kind = row["attribute_path"], row["attribute_type"]
        if kind not in _VALUES:
            self._left_out[f"attributes of type {kind}"] += 1
            return
        one = row[_VALUES[kind]]
        if kind == "float_series":
            self._point(name, row, one)
        elif one is None:
            pass  # exports have a row for each attribute that any run of a batch has
        elif kind in _SERIES:
            self._texts[name] = kind
        elif _VALUES[kind] == "file_value":
            self._take_file(name, kind, row["step"], one["path"])
        else:
            self._attributes[name] = one

    def _point(self, name: str, row: dict[str, Any], value: float | None) -> None:
        if value is None or row["step"] is None:
            self._left_out["points without a value or step (exports have NaN so)"] += row["timestamp"] is not None
            return
        step = row["step"] * self._multiplier
        self._left_out["fractions of steps (see --step-multiplier)"] += step != int(step)
        history = self._series.get(name) or self._series.setdefault(name, MetricHistory(self._keys(name)))
        history.steps.append(int(step))
        history.times_ms.append(_ms(row["timestamp"]) if row["timestamp"] else 0)
        history.values.append(value)

    def _take_file(self, name: str, kind: str, step: Decimal | None, path: str) -> None:
        file = self._root / path
        if not file.resolve().is_relative_to(self._root.resolve()) or not file.exists():
            self._left_out["files that are not in the export"] += 1
        elif file.is_dir():
            inside = sorted(one for one in file.rglob("*") if one.is_file())
            self._files += [(f"{name}/{one.relative_to(file).as_posix()}", one) for one in inside]
        elif kind == "artifact":  # the list of its files: Neptune kept no more
            self._files.append((f"{name}/{file.name}", file))
        else:
            self._files.append((name if step is None else f"{name}/{_plain(step)}{file.suffix}", file))

    def _all_files(self, long: list[SourceFile]) -> Iterator[SourceFile]:
        names = fitting.Names(fitting.path)
        for name, file in self._files:
            yield fitting.on_disk(names.new(name), file)
        for name, kind in self._texts.items():
            rows = (row for part in self._parts for row in _rows(part, name) if row["attribute_type"] == kind)
            write = _csv if kind == "string_series" else _jsonl
            yield fitting.in_memory(names.new(name + _SERIES[kind]), write(rows).encode("utf-8", "replace"))
        yield from long


def _rows(part: Path, attribute: str | None = None) -> Iterator[dict[str, Any]]:
    """Those of one attribute, or all. Raises InvalidRequest where a column is missing."""
    with parquet.ParquetFile(part) as file:
        if missing := {*_POINT, *_VALUES.values()} - set(file.schema_arrow.names):
            raise errors.InvalidRequest(f"{part}: lacks the columns {', '.join(sorted(missing))}")
        for batch in file.iter_batches():
            if attribute is not None:
                yield from batch.filter(compute.field("attribute_path") == attribute).to_pylist()
                continue
            points = compute.field("attribute_type") == "float_series"  # most rows: no more of them than is needed
            yield from batch.filter(points).select(_POINT).to_pylist()
            yield from batch.filter(~points).to_pylist()


def _csv(rows: Iterator[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("step", "time", "value"))
    writer.writerows((_plain(row["step"]), _text(row["timestamp"]), row["string_value"]) for row in rows)
    return text.getvalue()


def _jsonl(rows: Iterator[dict[str, Any]]) -> str:
    lines = (
        {"step": _plain(row["step"]), "time": _text(row["timestamp"]), **row["histogram_value"]}
        for row in rows
        if row["histogram_value"] is not None
    )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _plain(step: Decimal | None) -> str:
    """Without zeros behind."""
    return "" if step is None else f"{step:f}".rstrip("0").rstrip(".") if "." in f"{step:f}" else f"{step:f}"


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)  # whole milliseconds, as exports have them


def _text(one: Any) -> str:
    if isinstance(one, datetime):
        return one.isoformat()
    return "" if one is None else ",".join(one) if isinstance(one, list) else str(one)
