"""What a data scientist calls, against services in memory."""

import io
import json
import multiprocessing
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import headrace as hr
from fake_answers import away, not_found
from fake_headrace import FakeHeadrace, serving
from headrace import artifacts, capture, errors, retry
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.deployment.v1 import deployment_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.runs import state_after

QUICK = retry.Policy(first_delay_s=0.01, most_delay_s=0.05, patience_s=1.0, first_patience_s=0.5)


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


@pytest.fixture
def client(fake: FakeHeadrace) -> Iterator[hr.Client]:
    with hr.Client(fake.uri, ingest=hr.IngestSettings(age_s=0.01), policy=QUICK) as made:
        yield made


def state_of(fake: FakeHeadrace, run: hr.ActiveRun) -> str:
    return tracking_pb2.Run.State.Name(fake.tracking.runs[run.id].state).removeprefix("STATE_")


def test_a_run_is_made_with_what_it_is_given(fake: FakeHeadrace, client: hr.Client) -> None:
    with client.start_run(
        "batch-1", experiment="cookies", tags={"oven": 3}, params={"sugar": 0.8}, description="crisp"
    ) as run:
        run.log_params({"minutes": 12, "fan": True})
        run.log_param("tray", "top")
        run.set_tags({"taster": "ann"})
        run.set_tag("rated", 5)
        assert state_of(fake, run) == "RUNNING"
    assert re.fullmatch("[0-9a-f]{32}", run.id)
    assert (run.name, run.experiment_id) == ("batch-1", "1")
    assert fake.tracking.experiments["1"].name == "cookies"
    kept = client.get_run(run.id)
    assert kept.params == {"sugar": "0.8", "minutes": "12", "fan": "True", "tray": "top"}
    assert {"oven": "3", "taster": "ann", "rated": "5", "mlflow.note.content": "crisp"}.items() <= kept.tags.items()
    assert kept.state == "FINISHED"
    assert kept.start_time is not None
    assert kept.end_time is not None
    assert kept.start_time <= kept.end_time


def test_the_program_is_recorded_with_the_run(fake: FakeHeadrace, client: hr.Client) -> None:
    with client.start_run() as run:
        pass
    tags = client.get_run(run.id).tags
    assert tags["mlflow.user"] == capture.user()
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.source.name"]
    assert tags["headrace.python"].startswith("3.")
    requirements = fake.artifacts.files[run.id, "environment/requirements.txt"].decode()
    assert re.search(r"^grpcio==\d", requirements, re.MULTILINE)
    assert requirements.splitlines() == sorted(requirements.splitlines(), key=str.lower)


def test_nothing_is_recorded_of_the_program_where_nobody_wants_it(fake: FakeHeadrace, client: hr.Client) -> None:
    with client.start_run(capture=False) as run:
        pass
    assert client.get_run(run.id).tags == {}
    assert not fake.artifacts.files


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_git_is_recorded_without_credentials(tmp_path: Path) -> None:
    assert capture.git_tags(tmp_path) == {}
    git(tmp_path, "init", "-b", "oven")
    (tmp_path / "recipe.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "remote", "add", "origin", "https://ann:secret@example.org/bakery.git")
    tags = capture.git_tags(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", tags.pop("mlflow.source.git.commit"))
    assert tags == {
        "mlflow.source.git.branch": "oven",
        "mlflow.source.git.dirty": "false",
        "mlflow.source.git.repoURL": "https://example.org/bakery.git",
    }
    (tmp_path / "recipe.py").write_text("2")
    assert capture.git_tags(tmp_path)["mlflow.source.git.dirty"] == "true"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ValueError("burnt"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(), "FINISHED"),
        (SystemExit(2), "FAILED"),
        (SystemExit("no flour"), "FAILED"),
    ],
)
def test_an_exception_ends_the_run_and_goes_on(
    fake: FakeHeadrace, client: hr.Client, error: BaseException, state: str
) -> None:
    with pytest.raises(type(error)) as raised, client.start_run(capture=False) as run:
        raise error
    assert raised.value is error
    assert state_of(fake, run) == state == state_after(error)


def test_an_end_that_fails_does_not_hide_the_exception(
    fake: FakeHeadrace, client: hr.Client, caplog: pytest.LogCaptureFixture
) -> None:
    gone = not_found(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, "no run")

    def burn() -> None:
        fake.tracking.failures = [gone]
        raise ValueError("burnt")

    with pytest.raises(ValueError, match="burnt"), client.start_run(capture=False):
        burn()
    assert "could not be ended: no run" in caplog.text
    with client.start_run(capture=False):
        fake.tracking.failures = [gone]  # training that went well is not failed by its record
    run = client.start_run(capture=False)
    fake.tracking.failures = [gone]
    with pytest.raises(errors.NotFound):
        run.end()
    run.end("KILLED")
    assert state_of(fake, run) == "KILLED"


def test_a_run_is_resumed(fake: FakeHeadrace, client: hr.Client) -> None:
    with client.start_run("first", capture=False) as run:
        pass
    with client.start_run(run_id=run.id, params={"again": 1}, tags={"t": 2}, description="more") as resumed:
        assert (resumed.id, resumed.name, state_of(fake, run)) == (run.id, "first", "RUNNING")
    kept = client.get_run(run.id)
    assert (kept.state, kept.params, kept.tags) == (
        "FINISHED",
        {"again": "1"},
        {"t": "2", "mlflow.note.content": "more"},
    )
    with pytest.raises(errors.NotFound, match="no run abc"):
        client.start_run(run_id="abc")


def test_a_run_is_created_once_though_it_was_asked_for_twice(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.tracking.failures = [away()]
    with client.start_run(capture=False) as run:
        assert list(fake.tracking.runs) == [run.id]


def test_experiments_are_found_by_name_then_by_id(fake: FakeHeadrace, client: hr.Client) -> None:
    made = client.set_experiment("cookies")
    assert client.set_experiment("cookies") == made == client.get_experiment(made.id)
    with client.start_run(capture=False) as run:
        assert run.experiment_id == made.id
    assert [found.run_id for found in client.search_runs()] == [run.id]
    with pytest.raises(errors.NotFound):
        client.get_experiment("99")
    fake.tracking.experiments[made.id].lifecycle_stage = tracking_pb2.LIFECYCLE_STAGE_DELETED
    with pytest.raises(errors.WrongState, match="'cookies' is deleted: restore it"):
        client.set_experiment("cookies")


def test_runs_are_a_table(fake: FakeHeadrace, client: hr.Client) -> None:
    for number in range(5):
        with client.start_run(f"batch-{number}", params={"sugar": number}, capture=False) as run:
            pass
        metric = tracking_pb2.Metric(key="f1", value=number / 3)
        if number:
            fake.tracking.runs[run.id].metrics.append(metric)
    table = client.search_runs(["Default"], limit=4)
    assert [run.name for run in table] == ["batch-0", "batch-1", "batch-2", "batch-3"]
    assert [run.name for run in table[1:3]] == ["batch-1", "batch-2"]
    assert table[3].metrics == {"f1": 1.0}
    assert table.columns == ("name", "run_id", "state", "start_time", "duration_s", "metrics.f1", "params.sugar")
    lines = str(table).splitlines()
    assert lines[0].split() == ["NAME", "RUN_ID", "STATE", "START_TIME", "DURATION_S", "metrics.f1", "params.sugar"]
    assert "0.333333" in lines[2]
    assert len({len(line) for line in lines[1:]}) == 1
    assert table.to_text(60).splitlines()[-1] == (
        "(and 4 more columns: start_time, duration_s, metrics.f1, params.sugar)"
    )
    frame = table.to_pandas()
    assert list(frame.columns) == list(table.columns)
    assert frame["metrics.f1"].isna().tolist() == [True, False, False, False]
    assert "<td>batch-0</td>" in table._repr_html_()
    assert str(client.search_runs(["Default"], limit=1)[:0]) == "no runs"
    with pytest.raises(errors.InvalidRequest, match="limit: must be 1 or more, got 0"):
        client.search_runs(limit=0)


def test_history_is_read_into_columns_from_its_start_where_it_breaks(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.tracking.history = [(step, 1_000 + step, step / 2) for step in range(8)]
    fake.tracking.break_once = True
    history = client.metric_history("r", "loss")
    assert len(history) == 8
    assert list(history) == fake.tracking.history
    assert np.asarray(history.values).tolist() == [step / 2 for step in range(8)]
    frame = history.to_pandas()
    assert frame["step"].tolist() == list(range(8))
    assert str(frame["time"][0]) == "1970-01-01 00:00:01+00:00"


# --- datasets ---


def test_datasets_are_recorded_as_inputs(client: hr.Client) -> None:
    frame = pd.DataFrame({"sugar": [1.0, 2.0], "kind": ["a", "b"]})
    dataset = hr.dataset_from(frame, name="batches", source="oven")
    with client.start_run(capture=False) as run:
        run.log_input(dataset, context="training", tags={"fold": 1})
    (used,) = client.get_run(run.id).inputs
    assert (used.dataset, used.context, used.tags) == (dataset, "training", {"fold": "1"})
    assert json.loads(dataset.profile) == {"num_rows": 2, "num_elements": 4}
    assert [field["type"] for field in json.loads(dataset.schema)["mlflow_colspec"]] == ["double", "string"]


def test_the_digest_is_of_the_data_and_nothing_else() -> None:
    columns = {"a": [1, 2, 3], "b": [0.5, 1.5, 2.5]}
    frame = pd.DataFrame(columns)
    digest = hr.dataset_from(frame).digest
    assert len(digest) <= 36
    assert hr.dataset_from(frame.copy(), name="other", source="x").digest == digest
    assert hr.dataset_from({name: np.array(column) for name, column in columns.items()}).digest == digest
    assert hr.dataset_from(frame.astype({"a": "int32"})).digest == digest
    different: list[Callable[[], Any]] = [
        lambda: frame.rename(columns={"a": "c"}),
        lambda: frame[["b", "a"]],
        lambda: frame.iloc[::-1],
        lambda: frame.assign(a=[1, 2, 4]),
        lambda: frame.astype({"a": "float"}),
        lambda: frame.head(2),
    ]
    assert len({hr.dataset_from(make()).digest for make in different} | {digest}) == 7
    assert hr.dataset_from(np.ones((3, 2))).digest != hr.dataset_from(np.ones((2, 3))).digest
    assert hr.dataset_from({"a": ["x", "yz"]}).digest != hr.dataset_from({"a": ["xy", "z"]}).digest
    with pytest.raises(ValueError, match="have one length"):
        hr.dataset_from({"a": [1], "b": [1, 2]})


# --- files ---


def test_files_go_up_and_come_down(fake: FakeHeadrace, client: hr.Client, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "big.bin").write_bytes(bytes(range(256)) * 8_000)
    (source / "sub" / "empty").write_bytes(b"")
    with client.start_run(capture=False) as run:
        single = run.log_artifact(source / "big.bin", "raw")
        stored = run.log_artifacts(source, "all")
        run.log_text("crisp é", "notes/a.txt")
        run.log_dict({"a": [1, Path("x")]}, "a.json")
    assert (single.path, single.size_bytes) == ("raw/big.bin", 2_048_000)
    assert [each.path for each in stored] == ["all/big.bin", "all/sub/empty"]
    assert fake.artifacts.largest_part <= 1 << 20
    assert fake.artifacts.files[run.id, "notes/a.txt"].decode() == "crisp é"
    assert json.loads(fake.artifacts.files[run.id, "a.json"]) == {"a": [1, "x"]}
    here = client.artifacts.download(run.id, to=tmp_path / "all")
    assert sorted(each.relative_to(here).as_posix() for each in here.rglob("*") if each.is_file()) == [
        "a.json",
        "all/big.bin",
        "all/sub/empty",
        "notes/a.txt",
        "raw/big.bin",
    ]
    assert (here / "raw/big.bin").read_bytes() == (source / "big.bin").read_bytes()
    one = client.artifacts.download(run.id, "notes/a.txt", tmp_path / "one")
    assert one == tmp_path / "one/notes/a.txt"
    folder = client.artifacts.download(run.id, "all/sub", tmp_path / "sub")
    assert (folder / "empty").read_bytes() == b""
    with pytest.raises(errors.NotFound, match="no file nothing"):
        client.artifacts.download(run.id, "nothing", tmp_path)
    with pytest.raises(NotADirectoryError, match="log_artifact takes single files"):
        run.log_artifacts(source / "big.bin")


def test_files_survive_broken_connections(fake: FakeHeadrace, client: hr.Client, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    fake.artifacts.cut_uploads = 2
    client.artifacts.upload_bytes("r", content, "x")
    assert fake.artifacts.uploads == 3
    fake.artifacts.cut_downloads = 4
    assert client.artifacts.download("r", "x", tmp_path).read_bytes() == content


def test_spoilt_bytes_do_not_become_a_file(fake: FakeHeadrace, client: hr.Client, tmp_path: Path) -> None:
    client.artifacts.upload_bytes("r", b"a" * 3_000, "x")
    fake.artifacts.spoil = lambda part: part.replace(b"a", b"b")
    with pytest.raises(errors.DataLost, match="x: the bytes received have another digest"):
        client.artifacts.download("r", "x", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_told(client: hr.Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.artifacts.upload("r", tmp_path / "nothing", "x")


@given(st.text("a./\\:C ", min_size=1, max_size=12))
def test_no_path_leads_out_of_the_folder(path: str) -> None:
    root = Path("/root/of/downloads")
    try:
        place = artifacts.inside(root, path)
    except errors.InvalidRequest:
        return
    assert ".." not in place.parts
    assert place.is_relative_to(root)
    assert place != root or not path.strip("./")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "C:x", "a\\..\\x", ""])
def test_paths_that_would_are_refused(path: str) -> None:
    with pytest.raises(errors.InvalidRequest, match="would leave the folder"):
        artifacts.inside(Path("/r"), path)


class Plotly:
    def to_html(self) -> str:
        return "<html>"

    def to_image(self, format: str) -> bytes:  # noqa: A002 - the word of plotly
        return format.encode()


def test_figures_are_drawn_by_their_own_library(fake: FakeHeadrace, client: hr.Client) -> None:
    import matplotlib.figure
    from PIL import Image

    with client.start_run(capture=False) as run:
        run.log_figure(matplotlib.figure.Figure(), "plots/a.png")
        run.log_figure(Image.new("RGB", (2, 2)), "b.jpg")
        run.log_figure(Plotly(), "c.html")
        run.log_figure(Plotly(), "c.svg")
        with pytest.raises(TypeError, match="cannot draw a str"):
            run.log_figure("text", "d.png")
    files = fake.artifacts.files
    assert files[run.id, "plots/a.png"].startswith(b"\x89PNG")
    assert Image.open(io.BytesIO(files[run.id, "b.jpg"])).format == "JPEG"
    assert (files[run.id, "c.html"], files[run.id, "c.svg"]) == (b"<html>", b"svg")


# --- models ---


def test_a_model_is_stored_registered_and_promoted(fake: FakeHeadrace, client: hr.Client, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    judge = LinearRegression().fit(frame, [1.0, 2.0, 3.0])
    with client.start_run(capture=False) as run:
        logged = run.log_model(judge, "judge", input_example=frame, params={"depth": 3}, tags={"team": "pastry"})
        second = run.log_model(lambda data: data["x"], signature=hr.infer_signature(frame))
        client.artifacts.download(logged.id, to=tmp_path)
        third = run.log_model(tmp_path, "copy")
    assert (logged.state, logged.model_type, logged.run_id, logged.name) == ("READY", "sklearn", run.id, "judge")
    assert (logged.params, logged.tags) == ({"depth": "3"}, {"team": "pastry"})
    assert (second.model_type, third.model_type) == ("python_function", "python_function")
    assert {path for owner, path in fake.artifacts.files if owner == logged.id} >= {"MLmodel", "requirements.txt"}
    assert {p for o, p in fake.artifacts.files if o == third.id} == {
        p for o, p in fake.artifacts.files if o == logged.id
    }

    version = client.registry.register_model(logged, "cookie-judge", "crisp", {"oven": 3})
    again = client.registry.register_model(second.id, "cookie-judge")
    assert (version.version, version.model_id, version.description, version.tags) == (
        1,
        logged.id,
        "crisp",
        {"oven": "3"},
    )
    assert again.version == 2
    first = client.registry.promote("cookie-judge", version)
    assert (first.alias, first.previous_version, first.version.version) == ("production", None, 1)
    assert client.registry.promote("cookie-judge", 2).previous_version == 1
    assert client.registry.get("cookie-judge").aliases == {"production": 2}
    assert [each.version for each in client.registry.list_versions("cookie-judge")] == [2, 1]


def test_a_model_whose_files_are_not_stored_is_failed(fake: FakeHeadrace, client: hr.Client, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("x")
    with client.start_run(capture=False) as run:
        fake.artifacts.cut_uploads = 1_000
        with pytest.raises(errors.Unavailable):
            run.log_model(tmp_path)
        with pytest.raises(TypeError, match="a int cannot be logged as a model"):
            run.log_model(3)
        with pytest.raises(TypeError, match="neither a folder with an MLmodel file nor a Python file"):
            run.log_model(tmp_path / "nothing")
    (model,) = fake.tracking.models.values()
    assert model.state == tracking_pb2.LoggedModel.STATE_FAILED
    assert model.state_message.startswith("its files were not stored")


# --- deployments ---


def deployment(state: str, serving: int, wanted: int, message: str = "") -> deployment_pb2.Deployment:
    return deployment_pb2.Deployment(
        name="wine", state=f"STATE_{state}", serving_version=serving, wanted_version=wanted, message=message
    )


def test_a_deployment_is_waited_for(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.deployments.states = [
        deployment("SERVING", 1, 1),
        deployment("FAILED", 1, 2, "an older failure"),
        deployment("DEPLOYING", 1, 3),
        deployment("SERVING", 3, 3),
    ]
    found = client.deployments.wait("wine", version=3, timeout=10)
    assert (found.state, found.serving_version) == ("SERVING", 3)
    assert client.deployments.wait("wine").serving_version == 3


def test_waiting_for_a_deployment_ends_with_why(fake: FakeHeadrace, client: hr.Client) -> None:
    with pytest.raises(TimeoutError, match=r"deployment wine did not serve 2 within 0\.2 s: there is none"):
        client.deployments.wait("wine", version=2, timeout=0.2)
    fake.deployments.states = [deployment("FAILED", 1, 2, "no module named oven")]
    with pytest.raises(errors.WrongState, match="version 2 could not be started: no module named oven"):
        client.deployments.wait("wine", version=2, timeout=5)
    with pytest.raises(errors.WrongState, match="no module named oven"):
        client.deployments.wait("wine", timeout=5)
    with pytest.raises(errors.TimedOut, match="it is FAILED, version 1 serves"):
        client.deployments.wait("wine", version=3, timeout=0.2)


def _child_uses(client: hr.Client) -> None:
    sys.exit(0 if client.get_experiment("0").name == "Default" else 1)


def test_a_client_works_on_in_a_forked_child(client: hr.Client) -> None:
    client.get_experiment("0")
    child = multiprocessing.get_context("fork").Process(target=_child_uses, args=(client,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert client.get_experiment("0").name == "Default"
