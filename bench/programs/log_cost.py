"""What one `log` of a scalar costs; and an empty function, called in the same way."""

import headrace as hr
from programs import cost
from programs.wire import given, hear, say


def main() -> None:
    """Arguments: uri, calls, spool. Measures twice at a word, the empty function first."""
    asked = given()
    client = hr.Client(asked["uri"], ingest=hr.IngestSettings(spool_dir=asked["spool"]))
    run = client.start_run("cost", experiment="bench", capture=False)
    run.log({"loss": 0.5}, 0)
    run.flush(visible=True)
    say(ready=True)
    hear()
    empty = cost.measure(lambda _number: None, asked["calls"])
    say(
        empty=empty,
        log=cost.measure(lambda number: run.log({"loss": 0.5}, number), asked["calls"]),
        lost=run.lost_points,
    )
    hear()


if __name__ == "__main__":
    main()
