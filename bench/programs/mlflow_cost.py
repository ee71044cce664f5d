"""What one synchronous `log_metric` costs with MLflow."""

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] # in the peer's environment

from programs import cost
from programs.wire import given, hear, say


def main() -> None:
    """Arguments: uri, calls."""
    asked = given()
    client = MlflowClient(asked["uri"])
    run_id = client.create_run("0").info.run_id
    say(ready=True)
    hear()
    say(log=cost.measure(lambda number: client.log_metric(run_id, "loss", 0.5, step=number), asked["calls"]))
    hear()


if __name__ == "__main__":
    main()
