"""Calls of MLflow's REST interface, whoever answers them: one connection, bodies made beforehand, answers read and not parsed.

So the server is measured, and not what MLflow's client makes of it.
"""

import http.client
import json
import random
import secrets
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

from programs.wire import given, hear, now, say

API = "/api/2.0/mlflow"


class Rest:
    """A connection that is kept."""

    def __init__(self, uri: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(uri).netloc, timeout=600)

    def call(self, verb: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """The body of an answer that is 200."""
        self._connection.request(verb, path, body, {"content-type": kind} if body is not None else {})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{verb} {path}: {answer.status} {content[:500]!r}")
        return content

    def post(self, path: str, **fields: Any) -> Any:
        """A POST as it is made once."""
        return json.loads(self.call("POST", f"{API}/{path}", json.dumps(fields).encode()) or b"{}")

    def get(self, path: str, **fields: Any) -> bytes:
        """A GET."""
        return self.call("GET", f"{API}/{path}?{urlencode(fields, doseq=True)}")

    def run(self, experiment_id: str = "0") -> str:
        """A new one's id."""
        made = self.post("runs/create", experiment_id=experiment_id, start_time=int(time.time() * 1000))
        return str(made["run"]["info"]["run_id"])


def batch(run_id: str, number: int, keys: int, points: int) -> bytes:
    """A body of log-batch."""
    metrics = [
        {
            "key": f"train/metric_{point % keys}",
            "value": random.gauss(1, 0.1),
            "timestamp": 1_700_000_000_000 + number * points + point,
            "step": (number * points + point) // keys,
        }
        for point in range(points)
    ]
    return json.dumps({"run_id": run_id, "metrics": metrics}).encode()


def log_batches(rest: Rest, asked: dict[str, Any]) -> int:
    """Points; each batch is visible when its call returns."""
    run_id = rest.run()
    bodies = [batch(run_id, number, asked["keys"], 1_000) for number in range(asked["count"])]
    return 1_000 * timed(lambda body: rest.call("POST", f"{API}/runs/log-batch", body), bodies, run_id=run_id)


def log_metrics(rest: Rest, asked: dict[str, Any]) -> int:
    """Points, one a call."""
    run_id = rest.run()
    bodies = [
        json.dumps(
            {"run_id": run_id, "key": "loss", "value": 0.5, "timestamp": 1_700_000_000_000 + n, "step": n}
        ).encode()
        for n in range(asked["count"])
    ]
    return timed(lambda body: rest.call("POST", f"{API}/runs/log-metric", body), bodies)


def create_runs(rest: Rest, asked: dict[str, Any]) -> int:
    """Runs, with a name and three tags."""
    bodies = [
        json.dumps(
            {
                "experiment_id": "0",
                "run_name": f"run-{n}",
                "start_time": 1_700_000_000_000,
                "tags": [{"key": f"tag{tag}", "value": "x"} for tag in range(3)],
            }
        ).encode()
        for n in range(asked["count"])
    ]
    return timed(lambda body: rest.call("POST", f"{API}/runs/create", body), bodies)


def search_runs(rest: Rest, asked: dict[str, Any]) -> int:
    """Searches."""
    bodies = [
        json.dumps(
            {
                "experiment_ids": [asked["experiment_id"]],
                "filter": one["filter"],
                "order_by": [one["order"]],
                "max_results": 100,
            }
        ).encode()
        for one in asked["searches"]
    ]
    rest.call("POST", f"{API}/runs/search", bodies[0])
    return timed(lambda body: rest.call("POST", f"{API}/runs/search", body), bodies)


def read_history(rest: Rest, asked: dict[str, Any]) -> int:
    """Times a whole history is read."""
    fields = {"run_id": asked["run_id"], "metric_key": "train/metric_0"}
    return timed(lambda _: rest.get("metrics/get-history", **fields), [b""] * asked["count"])


def read_interval(rest: Rest, asked: dict[str, Any]) -> int:
    """Times a chart of 1,000 points is read."""
    fields = {"run_ids": [asked["run_id"]], "metric_key": "train/metric_0", "max_results": 1_000}
    return timed(lambda _: rest.get("metrics/get-history-bulk-interval", **fields), [b""] * asked["count"])


def files(rest: Rest, asked: dict[str, Any]) -> int:
    """Files of this size, up; then, with "down", down."""
    run_id = rest.run()
    root = f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts"
    content = secrets.token_bytes(asked["size"])
    names = [f"{root}/{n}.bin".encode() for n in range(asked["count"])]

    def up(name: bytes) -> bytes:
        return rest.call("PUT", name.decode(), content, "application/octet-stream")

    if not asked["down"]:
        return timed(up, names)
    for name in names:
        up(name)
    return timed(lambda name: rest.call("GET", name.decode()), names)


def timed(call: Any, bodies: list[bytes], **found: object) -> int:
    """Makes the calls at a word of the bench; says when, and how long each took."""
    say(ready=True, **found)
    hear()
    first = now()
    seconds: list[float] = []
    for body in bodies:
        began = now()
        call(body)
        seconds.append(now() - began)
    say(first=first, last=now(), count=len(bodies), seconds=seconds)
    hear()
    return len(bodies)


def main() -> None:
    """Arguments: uri, what, and what that takes."""
    asked = given()
    works = (log_batches, log_metrics, create_runs, search_runs, read_history, read_interval, files)
    {work.__name__: work for work in works}[asked["what"]](Rest(asked["uri"]), asked)


if __name__ == "__main__":
    main()
