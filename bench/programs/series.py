"""Logs one long series with times of its own: a step about every 50 ms, as a training loop would have made it."""

import numpy as np

import headrace as hr
from programs.wire import given, hear, say

_BLOCK = 20_000


def main() -> None:
    """Arguments: uri, kind ("noise", "smooth" or "constant"), points, key."""
    asked = given()
    points: int = asked["points"]
    rng = np.random.default_rng(7)
    times = 1.7e9 + np.cumsum(np.round(rng.normal(50, 2, points))) / 1000
    values = _values(asked["kind"], points, rng)
    with hr.Client(asked["uri"]) as client:
        run = client.start_run(asked["kind"], experiment="bench", capture=False)
        for start in range(0, points, _BLOCK):
            part = slice(start, start + _BLOCK)
            run.log_series(asked["key"], values[part], range(start, min(points, start + _BLOCK)), times[part].tolist())
        run.flush(visible=True, timeout=300)
        run.end()
        say(runs=[run.id])
        hear()


def _values(kind: str, points: int, rng: np.random.Generator) -> "np.ndarray":
    steps = np.arange(points)
    if kind == "noise":
        return rng.normal(0.0, 1.0, points)
    if kind == "smooth":
        # Falling, with slow waves; as float32, in which training computes its loss.
        curve = 2.5 * np.exp(-steps / (points / 5)) + 0.05 * np.sin(steps / 5000) + 0.2
        return curve.astype(np.float32).astype(np.float64)
    return np.full(points, 0.001)


if __name__ == "__main__":
    main()
