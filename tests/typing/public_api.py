"""What type checkers must know of the public API; checked by mypy and pyright, never run."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import headrace as hr
from headrace.models import Signature


def runs() -> None:
    with hr.start_run("name", experiment="cookies", tags={"a": 1}, params={"b": 0.5}) as run:
        assert_type(run, hr.ActiveRun)
        assert_type(run.id, str)
        run.log({"loss": 0.5, "steps": 3}, step=1)
        run.log({"loss": "high"})  # type: ignore[dict-item] # pyright: ignore[reportArgumentType] # no number
        assert_type(run.log_artifact("x"), hr.Artifact)
        assert_type(run.log_model(lambda frame: frame), hr.LoggedModel)
        run.end("DONE")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # no state
    assert_type(hr.start_run(offline="auto").offline, bool)
    hr.start_run(system_metrics=True).end()
    hr.start_run(offline="maybe")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # True, False or "auto"
    hr.start_run(nam="x")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # a typo
    hr.start_rnu()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue] # a typo


def answers() -> None:
    table = hr.search_runs(["cookies"], filter="metrics.f1 > 0.9", order_by=["metrics.f1 DESC"])
    assert_type(table, hr.RunTable)
    assert_type(table[0], hr.Run)
    assert_type(table[:2], hr.RunTable)
    assert_type(hr.metric_history("r", "loss").values, array[float])
    assert_type(hr.metric_history("r", "loss", start_step=5, end_time=9.5).steps, array[int])
    charts = hr.metric_charts(["r"], ["loss"], pixels=500, axis="time", start=1.5)
    assert_type(charts, tuple[hr.MetricChart, ...])
    assert_type(charts[0].maximums, array[float])
    hr.metric_charts(["r"], ["loss"], axis="epoch")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # no axis
    assert_type(hr.export_metrics("r", "points.parquet"), Path)
    version = hr.register_model("m-1", "wine")
    assert_type(version, hr.ModelVersion)
    assert_type(hr.promote("wine", version.version).previous_version, int | None)
    assert_type(hr.deployments.wait("wine", version=version.version, timeout=60).serving_version, int | None)
    assert_type(hr.connect("http://127.0.0.1:8080"), hr.Client)
    assert_type(hr.dataset_from([1.0]), hr.Dataset)
    assert_type(hr.infer_signature([1.0]), Signature)
    assert_type(hr.__version__, str)


def events() -> None:
    with hr.events.subscribe(types=["ModelVersionPromoted"], timeout=5) as subscription:
        assert_type(subscription, hr.Subscription)
        assert_type(next(subscription), hr.Event)
        assert_type(subscription.within(seconds=1), Iterator[hr.Event])


def errors() -> None:
    try:
        hr.get_run("r")
    except hr.errors.NotFound as error:
        assert_type(error.reason, str)
