"""Searches runs, one search after the other."""

import headrace as hr
from programs.searching import Search, answer
from programs.wire import given


def main() -> None:
    """Arguments: uri, experiment, searches."""
    asked = given()
    with hr.Client(asked["uri"]) as client:
        experiment = client.get_experiment(asked["experiment"])

        def search(each: Search) -> list[float]:
            table = client.search_runs([experiment.id], each["filter"], [each["order"]], limit=100)
            return [run.metrics["loss"] for run in table]

        answer(asked["searches"], search)


if __name__ == "__main__":
    main()
