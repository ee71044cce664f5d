"""What requests may hold, and what may happen to runs and models."""

import random
import re
from dataclasses import replace
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.tracking.v1 import tracking_pb2
from headrace_kit.errors import DomainError, InvalidField, reason_text
from headrace_tracking import limits, notes, rules
from headrace_tracking.readable_names import readable_name
from headrace_tracking.rules import RunChange
from headrace_tracking.store.experiments import ExperimentRow
from headrace_tracking.store.models import ModelRow
from headrace_tracking.store.runs import RunRow

RUN = RunRow(
    run_id=UUID(int=1),
    experiment_id=0,
    user_id="",
    state="RUNNING",
    start_ms=0,
    end_ms=None,
    delete_ms=None,
    params={"lr": "0.1"},
    tags={"mlflow.runName": "brisk-weir-417", "team": "pastry"},
)
MODEL = ModelRow(UUID(int=2), 0, None, "m", "sklearn", "PENDING", "", {}, {}, 5, 5)


@pytest.mark.parametrize("key", ["lr", "train/loss", "a b", "a.b-c:d_e", "größe", "x" * 250, "a.."])
def test_keys_taken(key: str) -> None:
    assert limits.key("k", key) == key


@pytest.mark.parametrize(
    "key", ["", "x" * 251, "/a", "a//b", "../a", "..", ".", "a/../b", "a/", "a\n", "a\x00", "a,b", "a'b", "a%b", "./a"]
)
def test_keys_refused(key: str) -> None:
    with pytest.raises(InvalidField, match=r"^k: keys"):
        limits.key("k", key)


@pytest.mark.parametrize(
    ("value", "problem"),
    [("x" * 6001, "at most 6,000 characters, got 6,001"), ("a\x00b", "must not hold the character NUL")],
)
def test_values_refused_by_their_key(value: str, problem: str) -> None:
    with pytest.raises(InvalidField, match=re.escape("params[lr]: must")) as refused:
        limits.entries("params", {"lr": value}, limits.PARAM_VALUE)
    assert problem in refused.value.problem


def test_documents_are_limited_as_a_whole() -> None:
    values = {f"k{number:03}": "x" * 6_000 for number in range(81)}
    assert limits.entries("params", values, limits.PARAM_VALUE) == values
    with pytest.raises(InvalidField, match="at most 491,520 are kept"):
        limits.entries("params", values | {"k081": "x" * 6_000}, limits.PARAM_VALUE)


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=200), max_size=50))
def test_an_entry_takes_no_more_than_is_counted(tags: dict[str, str]) -> None:
    counted = sum(len(k.encode()) + len(v.encode()) + limits._ENTRY_BYTES for k, v in tags.items())
    assert tracking_pb2.Run(tags=tags).ByteSize() <= counted


@pytest.mark.parametrize("text", ["", "a", "-1", "01", "1.0", " 1", "9223372036854775808", "1" * 30, "\u0661"])
def test_experiment_ids_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="must be an integer"):
        limits.experiment_id("experiment_id", text)


def test_ids_taken() -> None:
    assert limits.experiment_id("experiment_id", "9223372036854775807") == 2**63 - 1
    assert limits.run_id("run_id", "0" * 31 + "A") == UUID(int=10)
    assert limits.model_id("model_id", "m-" + "0" * 31 + "a") == UUID(int=10)
    assert limits.request_id("request_id", "") is None


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "g" * 32, str(UUID(int=1)), "0" * 32 + "\n"])
def test_run_and_model_ids_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="must be 32 hexadecimal digits"):
        limits.run_id("run_id", text)
    with pytest.raises(InvalidField, match='must be "m-" and 32 hexadecimal digits'):
        limits.model_id("model_id", "m-" + text)


@given(st.integers(0, 253_402_300_799), st.integers(0, 999_999_999))
def test_times_are_kept_to_the_millisecond(seconds: int, nanos: int) -> None:
    assert limits.time_ms("t", Timestamp(seconds=seconds, nanos=nanos)) == seconds * 1000 + nanos // 1_000_000


@pytest.mark.parametrize(("seconds", "nanos"), [(-1, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (2**62, 0)])
def test_times_refused(seconds: int, nanos: int) -> None:
    with pytest.raises(InvalidField, match="must lie in the years 1970 to 9999"):
        limits.time_ms("t", Timestamp(seconds=seconds, nanos=nanos))


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("", {}, "fallback"),
        ("a", {}, "a"),
        ("", {"mlflow.runName": "b"}, "b"),
        ("a", {"mlflow.runName": "a"}, "a"),
    ],
)
def test_name_and_tag_are_one(name: str, tags: dict[str, str], expected: str) -> None:
    assert rules.new_run_tags(name, tags | {"x": "y"}, "fallback") == {"x": "y", "mlflow.runName": expected}


@pytest.mark.parametrize(("name", "tag"), [("a", "b"), ("x" * 251, "x" * 251), ("", ""), ("a", "")])
def test_names_refused(name: str, tag: str) -> None:
    with pytest.raises(InvalidField, match=r"^name: "):
        rules.new_run_tags(name, {"mlflow.runName": tag}, "fallback")


def test_params_keep_their_value() -> None:
    assert rules.with_params(RUN, {"lr": "0.1", "depth": "3"}).params == {"lr": "0.1", "depth": "3"}
    with pytest.raises(InvalidField, match=r"params\[lr\]: a param keeps its value: it is '0.1', got '0.2'") as refused:
        rules.with_params(RUN, {"depth": "3", "lr": "0.2"})
    assert reason_text(refused.value.reason) == "PARAM_CONFLICT"


def test_tags_change_and_go_but_not_the_name() -> None:
    assert rules.with_tags(RUN, {"team": "bread"}).tags["team"] == "bread"
    assert rules.without_tag(RUN, "team").tags == {"mlflow.runName": "brisk-weir-417"}
    with pytest.raises(DomainError, match="has no tag 'colour'"):
        rules.without_tag(RUN, "colour")
    with pytest.raises(InvalidField, match="is the run's name and cannot be deleted"):
        rules.without_tag(RUN, "mlflow.runName")
    with pytest.raises(InvalidField, match=r"tags\[mlflow.runName\]: must have 1 to 250"):
        rules.with_tags(RUN, {"mlflow.runName": ""})


ENDED = replace(RUN, state="FINISHED", end_ms=50)


@pytest.mark.parametrize(
    ("run", "change", "state", "end_ms"),
    [
        (RUN, RunChange(state="FINISHED"), "FINISHED", 99),
        (RUN, RunChange(state="FAILED", end_ms=70, reset_end=True), "FAILED", 70),
        (RUN, RunChange(name="x"), "RUNNING", None),
        (RUN, RunChange(end_ms=70, reset_end=True), "RUNNING", 70),
        (ENDED, RunChange(name="x"), "FINISHED", 50),
        (ENDED, RunChange(state="FINISHED"), "FINISHED", 50),
        (ENDED, RunChange(state="KILLED"), "KILLED", 99),
        (ENDED, RunChange(reset_end=True), "FINISHED", 99),
        (ENDED, RunChange(state="RUNNING"), "RUNNING", None),
    ],
)
def test_ends(run: RunRow, change: RunChange, state: str, end_ms: int | None) -> None:
    new = rules.updated(run, change, 99)
    assert (new.state, new.end_ms) == (state, end_ms)
    assert new.tags["mlflow.runName"] == (change.name or "brisk-weir-417")


def test_models_come_to_one_end() -> None:
    ready = rules.finalized(MODEL, "READY", "", 9)
    assert (ready.state, ready.update_ms) == ("READY", 9)
    assert rules.finalized(ready, "READY", "", 10) is ready
    with pytest.raises(DomainError, match="is READY already and cannot become FAILED"):
        rules.finalized(ready, "FAILED", "disk", 10)


def test_lifecycle() -> None:
    active = ExperimentRow(3, "e", {}, 0, 0)
    deleted = replace(active, delete_ms=1)
    rules.check_experiment_active(active)
    rules.check_experiment_deleted(deleted)
    with pytest.raises(DomainError, match="experiment 3 is deleted; restore it"):
        rules.check_experiment_active(deleted)
    with pytest.raises(DomainError, match="experiment 3 is not deleted"):
        rules.check_experiment_deleted(active)


def test_readable_names_are_names() -> None:
    pick = random.Random(7)
    names = {readable_name(pick.choice) for _ in range(1000)}
    assert len(names) > 990
    assert all(re.fullmatch(r"[a-z]+-[a-z]+-\d{3}", name) for name in names)


@given(st.lists(st.dictionaries(st.integers(0, 1023), st.integers(0, 2**63 - 1), min_size=1), max_size=4))
def test_notes_say_how_far_partitions_are(moves: list[dict[int, int]]) -> None:
    written = [notes.written(one) for one in moves]
    assert all(len(note) < 8_000 for note in written)
    told: dict[int, int] = {}
    for one, note in zip(moves, written, strict=True):
        told |= one if note else {}
    assert notes.read(note for note in written if note) == told


def test_a_note_that_is_too_long_says_nothing() -> None:
    assert notes.written(dict.fromkeys(range(1024), 2**63 - 1)) == ""
