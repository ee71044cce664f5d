"""Searches runs, one search after the other."""

import headrace as hr
from programs.wire import given, hear, now, say


def main() -> None:
    """Arguments: uri, experiment, searches."""
    asked = given()
    with hr.Client(asked["uri"]) as client:
        experiment = client.get_experiment(asked["experiment"])

        def search(each: dict[str, str]) -> list[float]:
            table = client.search_runs([experiment.id], each["filter"], [each["order"]], limit=100)
            return [run.metrics["loss"] for run in table]

        search(asked["searches"][0])
        say(ready=True)
        hear()
        seconds: list[float] = []
        results: list[list[float]] = []
        for each in asked["searches"]:
            began = now()
            results.append(search(each))
            seconds.append(now() - began)
        say(seconds=seconds, results=results)
        hear()


if __name__ == "__main__":
    main()
