"""Reads the whole of a series into numpy, several times."""

import numpy as np

import headrace as hr
from programs.wire import given, hear, now, say


def main() -> None:
    """Arguments: uri, run_id, key, times."""
    asked = given()
    with hr.Client(asked["uri"]) as client:
        client.get_run(asked["run_id"])
        say(ready=True)
        hear()
        seconds: list[float] = []
        arrays: list[np.ndarray] = []
        for _ in range(asked["times"]):
            began = now()
            history = client.metric_history(asked["run_id"], asked["key"])
            arrays = [np.asarray(column) for column in (history.steps, history.times_ms, history.values)]
            seconds.append(now() - began)
        say(seconds=seconds, points=len(arrays[0]))
        hear()


if __name__ == "__main__":
    main()
