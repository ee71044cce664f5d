"""Asks for the chart of a series, several times, and holds each bucket against the points themselves."""

import numpy as np

import headrace as hr
from programs.wire import given, hear, now, say


def main() -> None:
    """Arguments: uri, run_id, key, pixels, times. Says whether minimum, maximum and count of every bucket are exact."""
    asked = given()
    with hr.Client(asked["uri"]) as client:

        def chart() -> "hr.MetricChart":
            return client.metric_charts([asked["run_id"]], [asked["key"]], pixels=asked["pixels"])[0]

        chart()
        say(ready=True)
        hear()
        seconds: list[float] = []
        found = None
        for _ in range(asked["times"]):
            began = now()
            found = chart()
            seconds.append(now() - began)
        assert found is not None
        history = client.metric_history(asked["run_id"], asked["key"])
        say(seconds=seconds, exact=_exact(found, history), buckets=len(found), points=len(history))
        hear()


def _exact(chart: "hr.MetricChart", history: "hr.MetricHistory") -> bool:
    steps, values = np.asarray(history.steps), np.asarray(history.values)
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    starts = np.searchsorted(steps, np.asarray(chart.starts))
    counts = np.diff(starts, append=len(steps))
    return (
        np.array_equal(counts, chart.counts)
        and np.array_equal(np.minimum.reduceat(values, starts), chart.minimums)
        and np.array_equal(np.maximum.reduceat(values, starts), chart.maximums)
    )


if __name__ == "__main__":
    main()
