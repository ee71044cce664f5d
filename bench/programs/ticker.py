"""Logs a number every few dozen milliseconds, and says when it logged which."""

import random
import time

import headrace as hr
from programs.wire import given, hear, now, say


def main() -> None:
    """Arguments: uri, ticks, pause_s."""
    asked = given()
    chance = random.Random(1)
    with hr.Client(asked["uri"]) as client:
        run = client.start_run("tick", experiment="bench", capture=False)
        run.log({"tick": -1}, 0)
        run.flush(visible=True)
        say(runs=[run.id])
        hear()
        logged: list[float] = []
        for number in range(asked["ticks"]):
            logged.append(now())
            run.log({"tick": number}, number + 1)
            time.sleep(asked["pause_s"] * chance.uniform(0.5, 1.5))  # not in step with the client's own rhythm
        say(logged=logged)
        hear()
        run.end()


if __name__ == "__main__":
    main()
