"""The client against real services on a real PostgreSQL: what it says it did is there."""

import itertools
import math
import random
import secrets
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import headrace as hr
from fix_client import with_client
from fix_services import Running
from headrace import cli, errors
from headrace.ingest.columns import Block
from headrace.ingest.frames import Limits, make_frames
from headrace.ingest.spool import Owner, SpoolFile


async def test_compressed_frames_are_read_as_plain_ones(services: Running) -> None:
    def work(client: hr.Client) -> None:
        columns = {"noise": [random.random() for _ in range(20_000)], "flat": [0.5] * 20_000}
        settings = hr.IngestSettings(age_s=0.02, compression="on")
        with hr.Client(client.connection.uri, ingest=settings) as other, other.start_run(capture=False) as run:
            run.log_columns(None, columns)
            run.flush(visible=True)
        for key, values in columns.items():
            assert list(client.metric_history(run.id, key).values) == values

    await with_client(services, work)


async def test_what_was_logged_is_visible_after_a_flush(services: Running) -> None:
    def work(client: hr.Client) -> None:
        with client.start_run("batch", experiment="cookies", params={"sugar": 0.8}) as run:
            for step in range(5_000):
                run.log({"loss": 1 / (step + 1), "odd": math.nan if step % 2 else step}, step=step)
            run.log_series("up", range(30_000))
            run.log_input(hr.dataset_from({"a": [1, 2]}, name="batches"), context="training")
            run.flush(visible=True)
            history = client.metric_history(run.id, "loss")
            assert list(history.steps) == list(range(5_000))
            assert list(history.values) == [1 / (step + 1) for step in range(5_000)]
            assert sum(math.isnan(value) for _, _, value in client.metric_history(run.id, "odd")) == 2_500
            assert list(client.metric_history(run.id, "up").values) == list(range(30_000))
        table = client.search_runs(["cookies"], filter="metrics.loss < 0.5 AND params.sugar = '0.8'")
        assert [found.run_id for found in table] == [run.id]
        (found,) = table
        assert (found.state, found.name, found.metrics["up"]) == ("FINISHED", "batch", 29_999)
        assert (found.least["odd"], found.greatest["odd"]) == (0, 4_998)
        assert (found.least["loss"], found.greatest["up"]) == (1 / 5_000, 29_999)
        assert found.inputs[0].dataset.name == "batches"
        assert found.tags["mlflow.source.type"] == "LOCAL"
        assert run.lost_points == 0
        assert [a.path for a in client.artifacts.list(run.id)] == ["environment/requirements.txt"]

    await with_client(services, work)


async def test_charts_and_ranges_of_series_large_and_small(services: Running) -> None:
    values = np.sin(np.arange(60_000) / 300) + np.arange(60_000) % 11

    def work(client: hr.Client) -> None:
        runs: list[str] = []
        for number in range(3):
            with client.start_run(capture=False) as run:
                run.log_columns(np.arange(60_000), {"wave": values if number else -values})
                run.log_columns(range(2), {"a": [1.0, math.nan], "b": [2.0, 3.0]})
                run.flush(visible=True)
                runs.append(run.id)
        history = client.metric_history(runs[1], "wave", start_step=20_000, end_step=20_010)
        assert list(history.steps) == list(range(20_000, 20_010))
        assert len(client.metric_history(runs[1], "wave", start_time=0, end_time=datetime.now(UTC))) == 60_000
        assert not client.metric_history(runs[1], "wave", end_time=1.5)

        wave, small = client.metric_charts(runs[1:2], ["wave", "none", "a"], pixels=100, start=1, end=50_001)
        assert (wave.run_id, wave.key, wave.width, len(wave)) == (runs[1], "wave", 256, 196)
        cut = np.append(np.arange(0, 50_001, 256), 50_001)
        cut[0] = 1  # the first bucket begins at 0, but the points before `start` are not in it
        assert list(wave.starts) == list(range(0, 50_001, 256))
        parts = [values[begin:end] for begin, end in itertools.pairwise(cut)]
        assert list(wave.counts) == [len(part) for part in parts]
        for column, expected in (
            (wave.minimums, [part.min() for part in parts]),
            (wave.maximums, [part.max() for part in parts]),
            (wave.firsts, [part[0] for part in parts]),
            (wave.lasts, [part[-1] for part in parts]),
        ):
            assert list(column) == expected
        assert (small.width, list(small.starts), math.isnan(small.maximums[0])) == (1, [1], True)

        # More than a call may ask for: nine series of 10,000 pixels.
        charts = client.metric_charts(runs, ["b", "wave", "a"], pixels=10_000, axis="time", start=0)
        assert [(chart.run_id, chart.key) for chart in charts] == [(r, k) for r in runs for k in ("b", "wave", "a")]
        assert [sum(chart.counts) for chart in charts] == [2, 60_000, 2] * 3
        with pytest.raises(errors.InvalidRequest, match="axis"):
            client.metric_charts(runs, ["b"], axis="epoch")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # told at once
        with pytest.raises(errors.InvalidRequest, match="end"):
            client.metric_charts(runs, ["b"], start=3, end=3)
        with pytest.raises(errors.NotFound):
            client.metric_charts(["0" * 32], ["b"])

    await with_client(services, work)


async def test_bad_input_names_the_field(services: Running) -> None:
    def work(client: hr.Client) -> None:
        with client.start_run(capture=False) as run:
            run.log_params({"a": 1})
            with pytest.raises(errors.InvalidRequest) as conflict:
                run.log_params({"a": 2})
            assert conflict.value.reason == "PARAM_CONFLICT"
            with pytest.raises(errors.InvalidRequest) as long:
                run.set_tag("k" * 300, 1)
            assert long.value.violations
            assert "250" in str(long.value)
        with pytest.raises(errors.NotFound) as missing:
            client.get_run("0" * 32)
        assert missing.value.reason == "RUN_NOT_FOUND"
        with pytest.raises(errors.InvalidRequest) as unclear:
            client.search_runs(filter="metrics.loss <")
        assert unclear.value.reason == "INVALID_FILTER"
        assert "position" in unclear.value.metadata

    await with_client(services, work)


async def test_a_model_is_logged_registered_promoted_and_told(services: Running, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    judge = LinearRegression().fit(frame, [1.0, 2.0, 3.0])

    def work(client: hr.Client) -> None:
        with client.start_run(capture=False) as run:
            logged = run.log_model(judge, input_example=frame)
        place = client.artifacts.download(logged.id, to=tmp_path / "model")
        assert hr.models.load(place).predict(frame).round(6).tolist() == [1.0, 2.0, 3.0]
        with client.events.subscribe("ModelVersionPromoted", timeout=30) as subscription:
            version = client.registry.register_model(logged, "judge", tags={"oven": 3})
            assert (version.version, version.run_id, version.state) == (1, run.id, "READY")
            assert client.registry.promote("judge", version).previous_version is None
            event = next(subscription)
        assert (event.message.version.version, event.message.alias) == (1, "production")
        assert event.subject == "tenants/default/models/judge/versions/1"
        assert client.registry.get_version("judge").version == 1
        assert client.registry.get_version("judge", "latest").version == 1
        with client.events.subscribe("ModelVersionPromoted", from_="earliest", timeout=30) as again:
            assert next(again).id == event.id

    await with_client(services, work)


async def test_large_files_keep_their_digest(services: Running, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(secrets.token_bytes(5_000_000))

    def work(client: hr.Client) -> None:
        with client.start_run(capture=False) as run:
            stored = run.log_artifact(source, "raw")
            assert stored.size_bytes == 5_000_000
            place = client.artifacts.download(run.id, "raw/source.bin", tmp_path / "down")
        assert place.read_bytes() == source.read_bytes()
        client.artifacts.delete(stored)
        with pytest.raises(errors.NotFound):
            client.artifacts.download(run.id, "raw/source.bin", tmp_path / "down")

    await with_client(services, work)


async def test_two_clients_log_to_one_run(services: Running) -> None:
    def work(client: hr.Client) -> None:
        with client.start_run(capture=False) as run:
            run.log({"k": 0}, step=0)
            with hr.Client(client.connection.uri) as other, other.start_run(run_id=run.id) as same:
                same.log({"k": 1}, step=1)
            run.log({"k": 2}, step=2)
            run.flush(visible=True)
            assert list(client.metric_history(run.id, "k").steps) == [0, 1, 2]

    await with_client(services, work)


async def test_a_spool_file_sent_twice_is_stored_once(
    services: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(client: hr.Client) -> None:
        with client.start_run(capture=False) as run:
            owner = Owner(run.id, secrets.token_hex(16), client.connection.uri)
            file = SpoolFile.create(tmp_path / "spool", owner, 1 << 20)
            for seq in range(1, 6):
                steps = range(seq * 10, seq * 10 + 10)
                (frame,) = make_frames(
                    [Block("k", [float(step) for step in steps], steps, [0] * 10)], Limits(100, 10_000)
                )
                frame.seq = seq
                file.append(frame)
            file.release()
            copy = tmp_path / "copy"
            copy.mkdir()
            shutil.copy(file.path, copy)
            assert cli.main(["sync", "--spool", str(tmp_path / "spool")]) == 0
            assert not file.path.exists()
            assert cli.main(["sync", "--spool", str(copy)]) == 0
            run.log({"after": 1})
            run.flush(visible=True)
            until = time.monotonic() + 30
            while len(client.metric_history(run.id, "k").steps) < 50:
                assert time.monotonic() < until
                time.sleep(0.05)
            assert list(client.metric_history(run.id, "k").steps) == list(range(10, 60))

    await with_client(services, work)


async def test_an_offline_run_sent_twice_is_there_once(
    services: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.bin").write_bytes(secrets.token_bytes(2_000_000))
    spool, copy = tmp_path / "spool", tmp_path / "copy"
    monkeypatch.setenv("HEADRACE_SPOOL", str(spool))

    def work(client: hr.Client) -> None:
        with client.start_run("away", experiment="oven", params={"sugar": 0.8}, capture=False, offline=True) as run:
            for step in range(2_000):
                run.log({"loss": 1 / (step + 1)}, step=step)
            run.set_tag("batch", 7)
            run.log_input(hr.dataset_from({"a": [1, 2]}, name="batches"), context="training")
            run.log_artifact(tmp_path / "weights.bin", "raw")
            run.end("FAILED")
        with pytest.raises(errors.NotFound):
            client.get_run(run.id)
        shutil.copytree(spool, copy)
        for folder in (spool, copy):  # the second as after a sync that was killed before it deleted anything
            assert cli.main(["sync", "--spool", str(folder)]) == 0
            assert list(folder.iterdir()) == []
        until = time.monotonic() + 30
        while len(client.metric_history(run.id, "loss").steps) < 2_000:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert list(client.metric_history(run.id, "loss").values) == [1 / (step + 1) for step in range(2_000)]
        found = client.get_run(run.id)
        assert (found.name, found.state, found.params, found.tags["batch"]) == ("away", "FAILED", {"sugar": "0.8"}, "7")
        assert found.start_time is not None
        assert found.end_time is not None
        assert found.start_time < found.end_time
        assert [each.dataset.name for each in found.inputs] == ["batches"]
        assert [each.path for each in client.artifacts.list(run.id)] == ["raw/weights.bin"]
        assert len(client.search_runs(["oven"])) == 1

    await with_client(services, work)


async def test_tokens_are_made_and_revoked(services: Running) -> None:
    def work(client: hr.Client) -> None:
        made = client.tokens.create("ci", "editor")
        assert [token.name for token in client.tokens.list()] == ["ci"]
        assert made.token.role == "editor"
        client.tokens.revoke(made.token.id)
        assert client.tokens.list()[0].revoke_time is not None

    await with_client(services, work)


async def test_webhooks(services: Running) -> None:
    def work(client: hr.Client) -> None:
        made = client.webhooks.create("hook", "https://receiver.invalid/a", ["model_version.created"], secret="s")
        assert (made.url, made.events, made.signed) == ("https://receiver.invalid/a", ("model_version.created",), True)
        assert client.webhooks.list() == (made,)
        changed = client.webhooks.update(made.id, disabled=True, description="why", secret="")
        assert (changed.disabled, changed.description, changed.signed, changed.name) == (True, "why", False, "hook")
        assert client.webhooks.get(made.id) == changed
        tested = client.webhooks.test(made.id)
        assert (tested.success, tested.status) == (False, None)
        assert tested.problem
        client.webhooks.delete(made.id)
        with pytest.raises(errors.NotFound):
            client.webhooks.get(made.id)

    await with_client(services, work)
