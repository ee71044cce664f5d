"""The chart of a long series, 2,000 pixels wide."""

from rig.figures import Figure
from rig.lab import Lab
from rig.processes import Failed, Program, together
from rows import storage

_PIXELS = 2_000
_TIMES = 20


def measure(lab: Lab) -> list[Figure]:
    """Milliseconds at the client, each bucket held against the points."""
    points = lab.scale.of(storage.POINTS)
    run_id = storage.write(lab, "noise", points)
    lab.headrace.settle()
    asked = {"uri": lab.headrace.uri, "run_id": run_id, "key": storage.KEY, "pixels": _PIXELS, "times": _TIMES}
    values: list[float] = []
    buckets = 0
    for _ in range(lab.scale.rounds):
        with Program("charter", **asked) as program:
            program.read()
            (said,) = together([program])
        if not said["exact"] or said["points"] != points:
            raise Failed(f"the chart of {said['points']:,} points is not exact")
        values += [1000 * each for each in said["seconds"]]
        buckets = said["buckets"]
    note = f"{points:,} points in {buckets:,} buckets by step; minimum, maximum and count of each are exact"
    return [Figure("chart of 1 M points, 2,000 px", "ms", values, 20.0, 5.0, more_is_better=False, note=note)]
