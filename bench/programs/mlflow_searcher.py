"""Searches runs with MLflow's client, one search after the other."""

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] # in the peer's environment

from programs.wire import given, hear, now, say


def main() -> None:
    """Arguments: uri, searches."""
    asked = given()
    client = MlflowClient(asked["uri"])

    def search(each: dict[str, str]) -> list[float]:
        page = client.search_runs(["0"], each["filter"], order_by=[each["order"]], max_results=100)
        return [run.data.metrics["loss"] for run in page]

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
