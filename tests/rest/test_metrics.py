"""Metrics in and out; each sentence against Headrace and MLflow itself."""

import pytest

from fix_mlflow import Rest

Point = tuple[int, int, float]
"""Time, step, value."""


def log(rest: Rest, run_id: str, points: list[Point], key: str = "m") -> None:
    metrics = [{"key": key, "timestamp": time, "step": step, "value": value} for time, step, value in points]
    rest.post("runs/log-batch", run_id=run_id, metrics=metrics)


def history(rest: Rest, run_id: str, key: str = "m") -> list[Point]:
    body = rest.get("metrics/get-history", run_id=run_id, metric_key=key)
    return [(one["timestamp"], one["step"], one["value"]) for one in body.get("metrics", [])]


def latest(rest: Rest, run_id: str) -> Point:
    (one,) = rest.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    return one["timestamp"], one["step"], one["value"]


def test_the_same_point_again_is_one(rest: Rest) -> None:
    run_id = rest.run()
    log(rest, run_id, [(1, 1, 0.5), (2, 2, 0.25)])
    log(rest, run_id, [(1, 1, 0.5)])
    rest.post("runs/log-metric", run_id=run_id, key="m", timestamp=1, step=1, value=0.5)
    assert history(rest, run_id) == [(1, 1, 0.5), (2, 2, 0.25)]


def test_another_value_at_a_step_is_a_second_point(rest: Rest) -> None:
    run_id = rest.run()
    log(rest, run_id, [(1, 1, 0.5), (1, 1, 0.75)])
    assert history(rest, run_id) == [(1, 1, 0.5), (1, 1, 0.75)]


def test_a_history_is_ordered_by_time_step_and_value(rest: Rest) -> None:
    run_id = rest.run()
    points = [(3, 1, 0.1), (1, 3, 0.2), (1, 2, 0.4), (1, 2, 0.3), (2, 0, 9.0)]
    log(rest, run_id, points)
    assert history(rest, run_id) == sorted(points)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(9, 1, 0.1), (1, 2, 0.2)], (1, 2, 0.2)),
        ([(1, 2, 0.1), (2, 2, 0.05)], (2, 2, 0.05)),
        ([(1, 1, 0.1), (1, 1, 0.3), (1, 1, 0.2)], (1, 1, 0.3)),
        ([(1, -5, 0.1), (1, -6, 0.3)], (1, -5, 0.1)),
    ],
)
def test_the_latest_is_the_greatest_by_step_time_and_value(rest: Rest, points: list[Point], expected: Point) -> None:
    run_id = rest.run()
    for point in points:
        log(rest, run_id, [point])
    assert latest(rest, run_id) == expected


def test_an_unknown_key_has_no_points(rest: Rest) -> None:
    assert rest.get("metrics/get-history", run_id=rest.run(), metric_key="nothing") == {}


def test_a_metric_is_seen_when_the_call_returns(rest: Rest) -> None:
    run_id = rest.run()
    for step in range(20):
        rest.post("runs/log-metric", run_id=run_id, key="m", timestamp=step, step=step, value=step)
        assert latest(rest, run_id)[1] == step


def test_pages_of_a_history(rest: Rest) -> None:
    run_id = rest.run()
    points = [(n, n, float(n)) for n in range(7)]
    log(rest, run_id, points)
    found: list[Point] = []
    token = ""
    while True:
        page = rest.get("metrics/get-history", run_id=run_id, metric_key="m", max_results=3, page_token=token)
        found += [(one["timestamp"], one["step"], one["value"]) for one in page["metrics"]]
        assert len(page["metrics"]) <= 3
        token = page.get("next_page_token", "")
        if not token:
            break
    assert found == points


@pytest.mark.parametrize("size", [0, -1])
def test_no_page_is_empty(rest: Rest, size: int) -> None:
    refused = rest.call("GET", "metrics/get-history", run_id=rest.run(), metric_key="m", max_results=size)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
    assert refused.message.startswith(f"Invalid value {size} for parameter 'max_results' supplied")


def test_several_histories(rest: Rest) -> None:
    experiment_id = rest.experiment()
    runs = sorted(rest.run(experiment_id) for _ in range(3))
    for number, run_id in enumerate(runs):
        log(rest, run_id, [(n, n, float(number)) for n in range(4)])
    got = rest.http.get(
        "/ajax-api/2.0/mlflow/metrics/get-history-bulk",
        params={"run_id": runs, "metric_key": "m", "max_results": 10},
    ).json()["metrics"]
    assert len(got) == 10
    expected = [(run_id, step) for run_id in runs for step in range(4)][:10]
    assert [(one["run_id"], one["step"]) for one in got] == expected
    assert rest.call("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", metric_key="m").status == 400


def sampled(rest: Rest, run_ids: list[str], **fields: object) -> list[dict[str, float]]:
    params = {"run_ids": run_ids, "metric_key": "m", **fields}
    got = rest.http.get("/api/2.0/mlflow/metrics/get-history-bulk-interval", params=params)
    assert got.status_code == 200, got.text
    body: list[dict[str, float]] = got.json().get("metrics", [])
    return body


def test_samples_of_histories(rest: Rest) -> None:
    run_id = rest.run()
    for start in range(0, 3000, 1000):
        log(rest, run_id, [(n, n, float(n % 7)) for n in range(start, start + 1000)])
    few = sampled(rest, [run_id], max_results=100)
    assert 50 <= len(few) <= 110
    steps = [one["step"] for one in few]
    assert steps == sorted(steps)
    assert steps[-1] == 2999
    assert all(one["run_id"] == run_id for one in few)
    some = sampled(rest, [run_id], start_step=100, end_step=109, max_results=100)
    assert [one["step"] for one in some] == list(range(100, 110))


def test_no_spike_is_lost_in_samples(rest: Rest) -> None:
    run_id = rest.run()
    log(rest, run_id, [(n, n, 99.0 if n == 637 else 0.5) for n in range(1000)])
    values = [one["value"] for one in sampled(rest, [run_id], max_results=20)]
    if rest.name == "headrace":  # MLflow keeps every n-th point, whatever it is
        assert 99.0 in values


@pytest.mark.parametrize(
    "fields",
    [
        {"max_results": 0},
        {"max_results": 2501},
        {"start_step": 1},
        {"start_step": 5, "end_step": 1},
        {"run_ids": ["0" * 32] * 101},
        {"run_ids": []},
    ],
)
def test_samples_that_cannot_be(rest: Rest, fields: dict[str, object]) -> None:
    params = {"run_ids": [rest.run()], "metric_key": "m", **fields}
    refused = rest.http.get("/api/2.0/mlflow/metrics/get-history-bulk-interval", params=params)
    assert refused.status_code == 400
    assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_steps_and_times_of_all_sizes(rest: Rest) -> None:
    run_id = rest.run()
    points: list[Point] = [(0, -(2**40), 1.0), (2**50, 2**50, -1.0), (1, 0, 0.0), (1700000000000, -1, 5e-324)]
    log(rest, run_id, points)
    assert history(rest, run_id) == sorted(points)


def test_many_keys_in_one_batch(rest: Rest) -> None:
    run_id = rest.run()
    metrics = [{"key": f"k{n % 7}", "timestamp": n, "step": n, "value": n / 2} for n in range(500)]
    rest.post("runs/log-batch", run_id=run_id, metrics=metrics)
    for key in range(7):
        expected = [(n, n, n / 2) for n in range(key, 500, 7)]
        assert history(rest, run_id, f"k{key}") == expected
