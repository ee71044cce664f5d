"""The files of other trackers, whole, cut off and damaged: nothing crashes, and nothing is read that was not written."""

import io
import struct
import zlib
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import errors
from headrace.imports import fitting, tensorboard, wandb
from headrace.imports.report import Report
from headrace.imports.tensorboard_events import Event, number
from headrace.imports.tfrecord import RecordFile, masked
from headrace.imports.wandb_log import BLOCK, FIRST, FULL, HEADER, LAST, MIDDLE, RecordLog
from headrace_artifacts.rules import artifact_path
from headrace_tracking import limits

# Some small, some that fill a block to its end or nearly so, some over several blocks.
RECORDS: Final = st.lists(
    st.one_of(st.binary(max_size=40), st.integers(BLOCK - 40, BLOCK + 40).map(bytes), st.just(b"\x01" * 3 * BLOCK)),
    max_size=6,
)
HARM: Final = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 1 << 17), st.just(0)),
    st.tuples(st.just("flip"), st.integers(0, 1 << 17), st.integers(1, 255)),
    st.tuples(st.just("zero"), st.integers(0, 1 << 17), st.integers(1, BLOCK)),
)


def wandb_file(records: list[bytes]) -> bytes:
    """As LevelDB's format says, written here a second time and otherwise."""
    file = bytearray(HEADER)
    for record in records:
        rest, began = record, False
        while True:
            room = BLOCK - len(file) % BLOCK
            if room < 7:
                file += bytes(room)
                continue
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = {(False, False): FULL, (False, True): FIRST, (True, True): MIDDLE, (True, False): LAST}[
                began, bool(rest)
            ]
            file += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            began = True
            if not rest:
                break
    return bytes(file)


def tensorflow_file(records: list[bytes]) -> bytes:
    file = bytearray()
    for record in records:
        length = struct.pack("<Q", len(record))
        file += length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record))
    return bytes(file)


def harmed(data: bytes, harm: tuple[str, int, int]) -> bytes:
    how, at, what = harm
    at %= max(len(data), 1)
    if how == "cut" or not data:
        return data[:at]
    if how == "zero":
        return data[:at] + bytes(min(what, len(data) - at)) + data[at + what :]
    return data[:at] + bytes([data[at] ^ what]) + data[at + 1 :]


def is_within(some: list[bytes], all_: list[bytes]) -> bool:
    """In their order."""
    rest = iter(all_)
    return all(one in rest for one in some)


@given(RECORDS)
def test_a_whole_wandb_file_is_read(records: list[bytes]) -> None:
    log = RecordLog(io.BytesIO(wandb_file(records)))
    assert list(log) == records
    assert log.lost == 0


@given(RECORDS, HARM)
def test_a_harmed_wandb_file_loses_records_and_gains_none(records: list[bytes], harm: tuple[str, int, int]) -> None:
    data = wandb_file(records)
    changed = harmed(data, harm)
    if changed[: len(HEADER)] != HEADER:
        with pytest.raises(errors.InvalidRequest):
            list(RecordLog(io.BytesIO(changed)))
        return
    log = RecordLog(io.BytesIO(changed))
    found = list(log)
    assert is_within(found, records)
    if harm[0] == "cut":
        assert found == records[: len(found)]
        assert log.lost <= len(changed)


@given(st.binary(max_size=2_000))
def test_any_bytes_behind_a_header_are_read_without_a_crash(data: bytes) -> None:
    log = RecordLog(io.BytesIO(HEADER + data))
    assert sum(map(len, log)) + log.lost <= len(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS, st.one_of(st.none(), HARM))
def test_a_harmed_event_file_loses_records_and_gains_none(
    tmp_path: Path, records: list[bytes], harm: tuple[str, int, int] | None
) -> None:
    data = tensorflow_file(records)
    file = tmp_path / "file"
    file.write_bytes(harmed(data, harm) if harm else data)
    with file.open("rb") as opened:
        framed = RecordFile(opened)
        found = [record for _, record in framed]
    assert is_within(found, records)
    if harm is None:
        assert (found, framed.lost) == (records, 0)
    elif harm[0] == "cut":
        assert found == records[: len(found)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_records_that_are_no_messages_are_counted(tmp_path: Path, records: list[bytes]) -> None:
    """With good checksums, as a program of another kind would write them."""
    (tmp_path / "events.tfevents").write_bytes(tensorflow_file(records))
    for run in tensorboard.read(tmp_path, Report()):
        assert all(len(series) for series in run.series())
        assert all(len(file.open().read()) == file.size for file in run.files())
    (tmp_path / "run-x.wandb").write_bytes(wandb_file(records))
    for made in wandb.read(tmp_path, Report()):
        list(made.series())


@pytest.mark.parametrize(
    ("dtype", "fields", "value"),
    [
        (1, {"float_val": [0.5]}, 0.5),
        (14, {"half_val": [0x3FC0]}, 1.5),
        (14, {"tensor_content": b"\xc0\x3f"}, 1.5),
        (19, {"half_val": [0x3E00]}, 1.5),
        (9, {"int64_val": [-3]}, -3.0),
        (1, {"float_val": [0.5, 0.5]}, None),
        (1, {"tensor_content": b"\x00"}, None),
        (1, {}, None),
        (7, {"string_val": [b"x"]}, None),
        (99, {"float_val": [0.5]}, None),
    ],
)
def test_numbers_in_tensors(dtype: int, fields: dict[str, object], value: float | None) -> None:
    event = Event()
    tensor = event.summary.value.add().tensor
    assert number(type(tensor)(dtype=dtype, **fields)) == value


NAMES: Final = st.lists(
    st.one_of(st.text(max_size=300), st.text("a./\\%2e5:C", max_size=12), st.text("ü/", min_size=490)),
    max_size=20,
)


@given(NAMES)
def test_names_are_fitted_to_what_a_server_takes_and_stay_apart(names: list[str]) -> None:
    keys, paths = fitting.Names(fitting.key), fitting.Names(fitting.path)
    assert len({keys(name) for name in names}) == len({paths(name) for name in names}) == len(set(names))
    for name in names:
        limits.key("key", keys(name))
        artifact_path(paths(name), "path")
