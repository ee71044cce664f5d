"""MLflow's unmodified client: `python mlflow_promoter.py NAME KIND VERSIONS` logs, registers and promotes, a line of stdin a step.

Every version answers with its own number. Runs in MLflow's environment, where nothing of Headrace is.
"""

import sys

import mlflow
import pandas as pd
from mlflow import MlflowClient
from sklearn.dummy import DummyClassifier

ROWS = pd.DataFrame({"acid": [0.1, 0.9], "year": [1.0, 2.0]})
PINNED = {"pip_requirements": ["scikit-learn"]}  # else the client works them out, in a process of its own


class Constant(mlflow.pyfunc.PythonModel):
    """Any Python."""

    def __init__(self, answer: int) -> None:
        self.answer = answer

    def predict(self, context: object, model_input: pd.DataFrame, params: object = None) -> object:
        return [self.answer] * len(model_input)


def log(kind: str, name: str, number: int) -> None:
    """A model that answers with the number, registered."""
    more = {"name": "model", "registered_model_name": name, "input_example": ROWS, **PINNED}
    with mlflow.start_run():
        if kind == "pyfunc":
            mlflow.pyfunc.log_model(python_model=Constant(number), **more)
        else:
            model = DummyClassifier(strategy="constant", constant=number).fit(ROWS, [number, number])
            mlflow.sklearn.log_model(model, serialization_format=kind, **more)


def main() -> None:
    """One version after the other."""
    name, kind, versions = sys.argv[1:]
    for number in range(1, int(versions) + 1):
        log(kind, name, number)
        print(f"LOGGED {number}", flush=True)
        sys.stdin.readline()
        MlflowClient().set_registered_model_alias(name, "production", number)
        print(f"PROMOTED {number}", flush=True)


if __name__ == "__main__":
    main()
