"""A training process for the fault schedules: streams points as fast as they are acknowledged, and notes what was.

    python client.py URI RECORD SEED

The record, a line at a time and written at once, holds "RUN <id>", "ACKED <n>" (the first n points of each series are
durable) and in the end "DONE <n> <lost>". The point of step i is i in the series "up", -i in "down". Ends at a line, or the
end, of stdin.
"""

import os
import random
import sys
import threading
import time

import headrace as hr
from headrace.client import Client
from headrace.retry import Policy

PATIENCE_S = 120.0


def main(uri: str, record: str, seed: int) -> None:
    """Logs until told to stop."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    chance = random.Random(seed)
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words: object) -> None:
        os.write(file, (" ".join(map(str, words)) + "\n").encode())

    client = Client(uri, policy=Policy(first_patience_s=PATIENCE_S, patience_s=PATIENCE_S))
    with client.start_run("faults", capture=False) as run:
        note("RUN", run.id)
        logged = 0
        while not stop.is_set():
            logged = log_some(run, logged, chance)
            run.flush(timeout=PATIENCE_S)
            note("ACKED", logged)
    note("DONE", logged, run.lost_points)


def log_some(run: hr.ActiveRun, logged: int, chance: random.Random) -> int:
    """A few bursts of small and large size, without waiting for any."""
    for _ in range(chance.randint(1, 8)):
        steps = range(logged, logged + chance.choice([1, 10, 400]))
        run.log_series("up", list(steps), steps)
        run.log_series("down", [-step for step in steps], steps)
        logged = steps.stop
        time.sleep(0.01 * chance.random())
    return logged


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
