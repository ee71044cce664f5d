"""Searches runs with MLflow's client, one search after the other."""

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] # in the peer's environment

from programs.searching import Search, answer
from programs.wire import given


def main() -> None:
    """Arguments: uri, searches."""
    asked = given()
    client = MlflowClient(asked["uri"])

    def search(each: Search) -> list[float]:
        page = client.search_runs(["0"], each["filter"], order_by=[each["order"]], max_results=100)
        return [run.data.metrics["loss"] for run in page]

    answer(asked["searches"], search)


if __name__ == "__main__":
    main()
