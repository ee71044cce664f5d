"""A training process: logs 10 series of its runs by the client, and says when they were durable, and visible."""

import threading
import time
from collections.abc import Callable

import numpy as np

import headrace as hr
from headrace.retry import Policy
from programs.wire import given, hear, now, say

_WAIT_S = 300.0
_BLOCK = 1_000  # steps in a call of log_columns
_BLOCK_S = 0.05  # or so many, where there is a pace


def main() -> None:
    """Arguments: uri, experiment, runs, series, steps, how ("columns" or "dict"), frame_points, steps_a_second (0 for no pace)."""
    asked = given()
    settings = hr.IngestSettings(frame_points=asked["frame_points"], block_s=_WAIT_S)
    client = hr.Client(asked["uri"], ingest=settings, policy=Policy(first_patience_s=60, patience_s=60))
    runs = [client.start_run("bench", experiment=asked["experiment"], capture=False) for _ in range(asked["runs"])]
    keys = [f"train/metric_{number}" for number in range(asked["series"])]
    values = np.random.default_rng(asked["seed"]).normal(1.0, 0.1, (asked["series"], asked["steps"]))
    values[0] = np.arange(asked["steps"])  # the latest value tells how far a run is visible
    log = log_columns if asked["how"] == "columns" else log_dicts
    for run in runs:  # so that their streams stand
        run.log({"begun": 1.0})
    _each(runs, lambda run: run.flush(timeout=_WAIT_S))
    say(runs=[run.id for run in runs])
    hear()
    first = now()
    log(runs, keys, values, asked["steps_a_second"])
    say(logged=now())
    _each(runs, lambda run: run.flush(timeout=_WAIT_S))
    durable = now()
    _each(runs, lambda run: run.flush(visible=True, timeout=_WAIT_S))
    say(first=first, durable=durable, visible=now(), lost=sum(run.lost_points for run in runs))
    hear()
    for run in runs:
        run.end()


def log_columns(runs: "list[hr.ActiveRun]", keys: list[str], values: "np.ndarray", pace: float) -> None:
    """Whole columns, as one who has arrays logs them."""
    began = time.monotonic()
    block = max(1, min(_BLOCK, int(pace * _BLOCK_S))) if pace else _BLOCK
    for start in range(0, values.shape[1], block):
        part = values[:, start : start + block]
        columns = dict(zip(keys, part, strict=True))
        for run in runs:
            run.log_columns(range(start, start + part.shape[1]), columns)
        _keep_pace(began, start + block, pace)


def log_dicts(runs: "list[hr.ActiveRun]", keys: list[str], values: "np.ndarray", pace: float) -> None:
    """A dict of all series a step, as a training loop does."""
    began = time.monotonic()
    for step, row in enumerate(values.T.tolist()):
        metrics = dict(zip(keys, row, strict=True))
        for run in runs:
            run.log(metrics, step)
        _keep_pace(began, step + 1, pace)


def _keep_pace(began: float, steps: int, pace: float) -> None:
    if pace and (ahead := began + steps / pace - time.monotonic()) > 0:
        time.sleep(ahead)


def _each(runs: "list[hr.ActiveRun]", work: "Callable[[hr.ActiveRun], None]") -> None:
    """All at the same time: one after the other would wait for each."""
    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
