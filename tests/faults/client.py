"""A training process for the fault schedules: logs as fast as it is acknowledged, and notes what was.

    python client.py URI

Takes orders on stdin: "PLAY <record> <seed>" begins a run, "END" ends it. While it lasts the process streams points to the
series "up" and "down" (the point of step i is i in one, -i in the other) and, in a thread beside that, logs points of the
series "once" by LogMetrics, one call after the other. Every call is made again until it is answered; some are given up
after a few milliseconds first, so that nobody knows what became of them.

The record, a line at a time and written at once, holds "RUN <id>"; "ACKED <n>": the first n points of both streamed series
are durable; "ONCE <n> <m>": so are the first n of "once", m of which were sent more than once; in the end "DONE <lost>".
"""

import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable

import headrace as hr
from headrace import errors
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace.client import Client
from headrace.retry import Policy

PATIENCE_S = 120.0
MOST_AHEAD = 20_000
"""Points of a series that may wait for their acknowledgement."""

Note = Callable[..., None]


def main(uri: str) -> None:
    """Plays what it is told to, one after the other."""
    stop = threading.Event()
    orders: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(orders, stop), daemon=True).start()
    with Client(uri, policy=Policy(first_patience_s=PATIENCE_S, patience_s=PATIENCE_S)) as client:
        while order := orders.get():
            stop.clear()
            play(client, order[1], random.Random(int(order[2])), stop)


def listen(orders: "queue.SimpleQueue[list[str]]", stop: threading.Event) -> None:
    """Until the end of stdin, which ends a run too."""
    for line in sys.stdin:
        if line.startswith("PLAY"):
            orders.put(line.split())
        else:
            stop.set()
    stop.set()
    orders.put([])


def play(client: Client, record: str, chance: random.Random, stop: threading.Event) -> None:
    """One run, from its start to its end."""
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words: object) -> None:
        os.write(file, (" ".join(map(str, words)) + "\n").encode())

    with client.start_run("faults", capture=False) as run:
        note("RUN", run.id)
        calls = threading.Thread(target=call, args=(client, run.id, random.Random(chance.random()), stop, note))
        calls.start()
        stream(run, chance, stop, note)
        calls.join()
    note("DONE", run.lost_points)
    os.close(file)


def stream(run: hr.ActiveRun, chance: random.Random, stop: threading.Event, note: Note) -> None:
    """Streams in bursts of small and large size."""
    logged = acked = 0
    while not stop.is_set() or acked < logged:
        if not stop.is_set() and logged - acked < MOST_AHEAD:
            logged = log_some(run, logged, chance)
        try:
            run.flush(timeout=PATIENCE_S if stop.is_set() else 1.0)
        except errors.TimedOut:
            continue  # the server is away: that does not end a training
        acked = logged
        note("ACKED", acked)


def log_some(run: hr.ActiveRun, logged: int, chance: random.Random) -> int:
    """A few bursts, without waiting for any."""
    for _ in range(chance.randint(1, 8)):
        steps = range(logged, logged + chance.choice([1, 10, 200]))
        run.log_series("up", list(steps), steps)
        run.log_series("down", [-step for step in steps], steps)
        logged = steps.stop
        time.sleep(0.03 * chance.random())
    return logged


def call(client: Client, run_id: str, chance: random.Random, stop: threading.Event, note: Note) -> None:
    """Calls LogMetrics, each time with new points."""
    logged = again = 0
    while not stop.is_set():
        steps = range(logged, logged + chance.randint(1, 20))
        now = time.time_ns() // 1_000_000
        points = [tracking_pb2.Metric(key="once", value=step, step=step, time_ms=now) for step in steps]
        sent = send(client, pb.LogMetricsRequest(run_id=run_id, metrics=points), chance)
        logged = steps.stop
        again += len(steps) if sent > 1 else 0
        note("ONCE", logged, again)
        time.sleep(0.1 * chance.random())


def send(client: Client, request: pb.LogMetricsRequest, chance: random.Random) -> int:
    """How often it was sent until there was an answer."""
    until = time.monotonic() + PATIENCE_S
    patience_s = 0.02 * chance.random() if chance.random() < 0.2 else 5.0
    sent = 0
    while True:
        sent += 1
        try:
            client.connection.call(lambda c: c.tracking.LogMetrics, request, again=False, timeout_s=patience_s)
        except (errors.Unavailable, errors.Overloaded, errors.TimedOut):
            if time.monotonic() > until:
                raise
            patience_s = 5.0
            time.sleep(0.05)
        else:
            return sent


if __name__ == "__main__":
    main(sys.argv[1])
