"""Parquet files with the points of a run, written and read; the only module that knows pyarrow.

A row group has points of one series in their order (see `chunks`); zstd, pages with checksums. Columns: key (by
dictionary), step, time (milliseconds, UTC), value. Encodings are those that DuckDB, Polars and Spark all read: values
split by bytes would be a third smaller where a curve is smooth, but Spark's vectorized reader does not know them.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from headrace_tracking.columns import BadColumns, Columns

_SCHEMA: Final = pa.schema(
    [
        pa.field("key", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
_NUMBERS: Final = ["step", "time", "value"]
_DELTAS: Final = "DELTA_BINARY_PACKED"

Footer = Any
"""Where the row groups of a file are; pyarrow's FileMetaData, which has no types."""


class Writer:
    """A file under way. It is one only after the `with` block has ended well."""

    def __init__(self, file: BinaryIO, facts: Mapping[str, str]) -> None:
        """`facts` stand in the file's own metadata."""
        self._row_groups = 0
        self._writer = pq.ParquetWriter(
            file,
            _SCHEMA,
            store_schema=False,  # for all readers what the file itself says: a key is text, not a category
            compression="zstd",
            use_dictionary=["key"],  # pyright: ignore[reportArgumentType] - names of columns will do
            column_encoding={"step": _DELTAS, "time": _DELTAS, "value": "PLAIN"},
            write_page_checksum=True,
            sorting_columns=[pq.SortingColumn(2), pq.SortingColumn(1)],
        )
        self._writer.add_key_value_metadata(dict(facts))

    def add(self, key: str, points: Columns) -> int:
        """Writes a row group of ordered points, at least one; returns its number."""
        count = len(points)
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([key])),
            pa.array(points.steps),
            pa.array(points.times).view(pa.timestamp("ms", tz="UTC")),
            pa.array(points.values, from_pandas=False),
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA), row_group_size=count)
        self._row_groups += 1
        return self._row_groups - 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


def footer(file: BinaryIO) -> Footer:
    """Reads it from the file's end. Raises BadColumns when this is no Parquet file."""
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise BadColumns(f"is no Parquet file: {error}") from error


def read(file: BinaryIO, footer: Footer, row_group: int) -> Columns:
    """The points of a row group; its keys stay unread. Raises BadColumns when it is damaged or not there."""
    if not 0 <= row_group < footer.num_row_groups:
        raise BadColumns(f"has {footer.num_row_groups} row groups, and not number {row_group}")
    try:
        with pq.ParquetFile(file, metadata=footer, pre_buffer=True, page_checksum_verification=True) as opened:
            table = opened.read_row_group(row_group, columns=_NUMBERS, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise BadColumns(f"row group {row_group}: {error}") from error
    step, time, value = (table.column(name).combine_chunks() for name in _NUMBERS)
    return Columns(step.to_numpy(), time.view(pa.int64()).to_numpy(), value.to_numpy())
