"""Tables as text, and the table of runs that a search answers with."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, overload

from typing_extensions import override

from headrace.optional import pandas
from headrace.records import Run

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_ROWS = 50
_PRINT_WIDTH = 160
_CELL_WIDTH = 48


class RunTable(Sequence[Run]):
    """The runs that a search found, in its order. Printed, it is a table; `to_pandas` makes a frame of it."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = tuple(runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "RunTable": ...
    @override
    def __getitem__(self, index: int | slice) -> "Run | RunTable":
        return RunTable(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    @override
    def __len__(self) -> int:
        return len(self._runs)

    @override
    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @property
    def columns(self) -> tuple[str, ...]:
        """name, run_id, state, start_time, duration_s, then "metrics.<key>" and "params.<key>" of any run, sorted."""
        metrics = sorted({key for run in self._runs for key in run.metrics})
        params = sorted({key for run in self._runs for key in run.params})
        fixed = ("name", "run_id", "state", "start_time", "duration_s")
        return (*fixed, *(f"metrics.{key}" for key in metrics), *(f"params.{key}" for key in params))

    def rows(self, columns: Sequence[str] = ()) -> list[list[object]]:
        """One row a run, a cell for each of these columns (none named: all); None where a run does not have it."""
        wanted = tuple(columns) or self.columns
        return [[_cell(run, column) for column in wanted] for run in self._runs]

    def to_pandas(self) -> "pd.DataFrame":
        """A frame with `columns`; the index counts. Needs pandas."""
        frame: pd.DataFrame = pandas().DataFrame.from_records(self.rows(), columns=list(self.columns))
        return frame

    def to_text(self, width: int = _PRINT_WIDTH, columns: Sequence[str] = ()) -> str:
        """A table of these columns (none named: all), at most `width` characters wide.

        Columns that do not fit are left out and counted.
        """
        if not self._runs:
            return "no runs"
        text = text_table(tuple(columns) or self.columns, self.rows(columns)[:_SHOWN_ROWS], width)
        more = len(self) - _SHOWN_ROWS
        return f"{text}\n... and {more} more runs" if more > 0 else text

    @override
    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(as_text(cell))}</td>' for cell in row)}</tr>" for row in self.rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> str:
    """Aligned columns, numbers to the right, at most `width` wide; long cells are cut.

    Where they do not fit, the last columns are left out and counted in a last line; the first is always shown.
    """
    cells = [[_cut(as_text(cell)) for cell in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells), 0) for i, name in enumerate(columns)]
    shown = len(columns)
    while shown > 1 and sum(widths[:shown]) + 2 * (shown - 1) > width:
        shown -= 1
    right = [all(isinstance(row[i], int | float | None) for row in rows) and bool(rows) for i in range(shown)]

    def line(row: Sequence[str]) -> str:
        padded = (f"{row[i]:>{widths[i]}}" if right[i] else f"{row[i]:<{widths[i]}}" for i in range(shown))
        return "  ".join(padded).rstrip()

    lines = [line([name.upper() if name.islower() and "." not in name else name for name in columns])]
    lines += [line(row) for row in cells]
    if shown < len(columns):
        lines.append(f"(and {len(columns) - shown} more columns: {', '.join(columns[shown:])})")
    return "\n".join(lines)


def as_text(cell: object) -> str:
    """A cell for people: times to the second, numbers to six digits, no line breaks, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(cell, float):
        return f"{cell:.6g}" if math.isfinite(cell) else str(cell)
    return "".join(c if c.isprintable() else " " for c in str(cell))


def _cut(text: str) -> str:
    return text if len(text) <= _CELL_WIDTH else text[: _CELL_WIDTH - 1] + "…"


def _cell(run: Run, column: str) -> object:
    kind, _, key = column.partition(".")
    if kind == "metrics":
        return run.metrics.get(key)
    if kind == "params":
        return run.params.get(key)
    if column == "duration_s":
        return (run.end_time - run.start_time).total_seconds() if run.end_time and run.start_time else None
    return {"name": run.name, "run_id": run.run_id, "state": run.state, "start_time": run.start_time}[column]
