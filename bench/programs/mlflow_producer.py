"""A training process of MLflow's or FastTrackML's: logs batches of 1,000 points by MLflow's own client."""

import random
import time

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] # in the peer's environment
from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

from programs.wire import given, hear, now, say


def main() -> None:
    """Arguments: uri, series, seconds, points (0 for as many as the seconds allow). A batch is visible when its call returns."""
    asked = given()
    client = MlflowClient(asked["uri"])
    run_id = client.create_run("0").info.run_id
    chance = random.Random(asked["seed"])
    keys = [f"train/metric_{number}" for number in range(asked["series"])]
    steps = 1_000 // len(keys)
    say(runs=[run_id])
    hear()
    first, batches = now(), 0
    while now() - first < asked["seconds"] and (not asked["points"] or batches * 1_000 < asked["points"]):
        at = int(time.time() * 1000)
        metrics = [
            Metric(key, chance.gauss(1, 0.1), at, batches * steps + step) for step in range(steps) for key in keys
        ]
        client.log_batch(run_id, metrics=metrics)
        batches += 1
    say(first=first, visible=now(), points=batches * len(keys) * steps)
    hear()


if __name__ == "__main__":
    main()
