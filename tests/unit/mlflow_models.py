"""Models as MLflow writes them, each in a folder of its own, beside what they predict; `python mlflow_models.py FOLDER`."""

import json
import sys
from pathlib import Path

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import xgboost
from sklearn.linear_model import LogisticRegression

ROWS = pd.DataFrame({"acid": [0.1, 0.9, 0.2, 0.8] * 10, "year": [1.0, 2.0, 3.0, 4.0] * 10})
LABELS = np.array([0, 1, 0, 1] * 10)
FIRST = ROWS.head(3)
PINNED = {"pip_requirements": ["scikit-learn"]}  # else MLflow works them out, in a process of its own


class Twice(mlflow.pyfunc.PythonModel):
    """Any Python."""

    def predict(self, context: object, model_input: pd.DataFrame, params: object = None) -> object:
        return model_input["acid"] * 2


def main(folder: Path) -> None:
    """Writes all of them."""
    expected: dict[str, list[object]] = {}

    def keep(name: str, predictions: object) -> str:
        expected[name] = np.asarray(predictions).tolist()
        return str(folder / name)

    def sklearn(name: str, form: str, rows: object) -> None:
        model = LogisticRegression().fit(rows, LABELS)
        place = keep(name, model.predict(rows[:3]))
        mlflow.sklearn.save_model(model, place, serialization_format=form, input_example=rows[:3], **PINNED)

    for form in ("skops", "pickle", "cloudpickle"):
        sklearn(f"sklearn-{form}", form, ROWS)
    sklearn("sklearn-array", "skops", ROWS.to_numpy())
    for form in ("ubj", "json"):
        booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(ROWS, label=LABELS), 3)
        place = keep(f"xgboost-{form}", booster.predict(xgboost.DMatrix(FIRST)))
        mlflow.xgboost.save_model(booster, place, model_format=form, input_example=FIRST, **PINNED)
    trees = xgboost.XGBClassifier(n_estimators=3).fit(ROWS.to_numpy(), LABELS)
    place = keep("xgboost-estimator", trees.predict(FIRST.to_numpy()))
    mlflow.xgboost.save_model(trees, place, input_example=FIRST, **PINNED)
    config = {"objective": "binary", "min_data_in_leaf": 1, "verbose": -1}
    light = lightgbm.train(config, lightgbm.Dataset(ROWS, label=LABELS), 3)
    mlflow.lightgbm.save_model(light, keep("lightgbm-booster", light.predict(FIRST)), input_example=FIRST, **PINNED)
    estimator = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=1, verbose=-1).fit(ROWS, LABELS)
    place = keep("lightgbm-estimator", estimator.predict(FIRST))
    mlflow.lightgbm.save_model(estimator, place, input_example=FIRST, **PINNED)
    place = keep("pyfunc", FIRST["acid"] * 2)
    mlflow.pyfunc.save_model(place, python_model=Twice(), input_example=FIRST, **PINNED)
    _with_modules(folder, keep("sklearn-modules", [7, 7, 7]))
    (folder / "expected.json").write_text(json.dumps(expected))


def _with_modules(folder: Path, place: str) -> None:
    modules = folder / "modules"
    modules.mkdir()
    (modules / "homemade.py").write_text(
        "import numpy as np\nfrom sklearn.base import BaseEstimator\n\n\n"
        "class Homemade(BaseEstimator):\n    def predict(self, rows):\n        return np.full(len(rows), 7)\n"
    )
    sys.path.insert(0, str(modules))
    import homemade

    mlflow.sklearn.save_model(
        homemade.Homemade(),
        place,
        serialization_format="skops",
        skops_trusted_types=["homemade.Homemade"],
        code_paths=[str(modules / "homemade.py")],
        input_example=FIRST,
        **PINNED,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
