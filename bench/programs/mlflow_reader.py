"""Reads the whole of a series into numpy with MLflow's client, several times."""

import numpy as np
from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] # in the peer's environment

from programs.wire import given, hear, now, say


def main() -> None:
    """Arguments: uri, run_id, key, times."""
    asked = given()
    client = MlflowClient(asked["uri"])
    client.get_run(asked["run_id"])
    say(ready=True)
    hear()
    seconds: list[float] = []
    arrays: list[np.ndarray] = []
    for _ in range(asked["times"]):
        began = now()
        points = client.get_metric_history(asked["run_id"], asked["key"])
        columns = zip(*((point.step, point.timestamp, point.value) for point in points), strict=True)
        arrays = [np.array(column) for column in columns]
        seconds.append(now() - began)
    say(seconds=seconds, points=len(arrays[0]))
    hear()


if __name__ == "__main__":
    main()
