"""A training process for the fault tests: streams points whose values count up, and says what was acknowledged.

Prints "RUN <id>", then "ACKED <n>" whenever the first n points of each series are durable; ends at a line on stdin.
"""

import sys
import threading
import time

import headrace as hr


def main(uri: str) -> None:
    """Streams until told to stop, then waits until everything is visible and prints "DONE <n>"."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    hr.connect(uri)
    with hr.start_run("streamer", experiment="kills") as run:
        print("RUN", run.id, flush=True)
        logged = 0
        while not stop.is_set():
            for _ in range(50):
                run.log({"up": logged, "down": -logged}, step=logged)
                logged += 1
                time.sleep(0.001)
            run.flush(timeout=60)
            print("ACKED", logged, flush=True)
        run.flush(visible=True, timeout=60)
        print("DONE", logged, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
