"""Models on disk: what is saved loads again, and nothing runs code that was not allowed to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace.models import (
    ModelFormatError,
    ModelNotAllowed,
    SchemaError,
    infer_signature,
    load,
    save_callable,
    save_sklearn,
)
from headrace.models.pyfunc import _load_pyfunc

ROWS = pd.DataFrame({"acid": [0.1, 0.9, 0.2, 0.8], "year": [1, 2, 3, 4]})
LABELS = np.array([0, 1, 0, 1])


class Homemade(ClassifierMixin, BaseEstimator):
    """A type that skops knows nothing of."""

    def fit(self, _x: Any, _y: Any) -> "Homemade":
        self.answer_ = 7
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.answer_)


HOMEMADE = f"{Homemade.__module__}.Homemade"


def trained() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS)


def test_sklearn_model_comes_back_with_its_signature(tmp_path: Path) -> None:
    model = trained()
    save_sklearn(model, tmp_path / "m", input_example=ROWS)
    loaded = load(tmp_path / "m")
    assert (loaded.flavor, loaded.signature) == ("sklearn", infer_signature(ROWS, LABELS))
    assert loaded.predict(ROWS).tolist() == model.predict(ROWS).tolist()
    assert loaded.predict([{"year": 2, "acid": 0.9, "more": "x"}]).tolist() == [1]
    with pytest.raises(SchemaError, match=r"'acid'.*missing"):
        loaded.predict(ROWS[["year"]])


def test_folder_is_laid_out_as_mlflow_lays_it_out(tmp_path: Path) -> None:
    written = save_sklearn(trained(), tmp_path, input_example=ROWS.head(2), requirements=["lightgbm>=4"])
    fields = yaml.safe_load((tmp_path / "MLmodel").read_text())
    assert fields["model_uuid"] == written.model_uuid
    assert fields["flavors"]["sklearn"]["serialization_format"] == "skops"
    assert fields["flavors"]["python_function"]["loader_module"] == "headrace.models.pyfunc"
    assert json.loads(fields["signature"]["inputs"])[0] == {"type": "double", "name": "acid", "required": True}
    assert json.loads((tmp_path / "input_example.json").read_text()) == {
        "columns": ["acid", "year"],
        "data": [[0.1, 1], [0.9, 2]],
    }
    assert "dataframe_split" in json.loads((tmp_path / "serving_input_example.json").read_text())
    requirements = (tmp_path / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in requirements] == [
        "headrace[models]", "scikit-learn", "skops", "numpy", "pandas", "lightgbm>=4"
    ]  # fmt: skip
    assert _load_pyfunc(str(tmp_path)).predict(ROWS).tolist() == [0, 1, 0, 1]


def test_model_trained_on_arrays_takes_frames_without_a_warning(tmp_path: Path) -> None:
    model = LogisticRegression().fit(ROWS.to_numpy(), LABELS)
    save_sklearn(model, tmp_path, input_example=ROWS.to_numpy(), predict_fn="predict_proba")
    loaded = load(tmp_path)
    assert loaded.predict(ROWS).shape == (4, 2)
    with pytest.raises(SchemaError, match="takes 2 columns, got 1"):
        loaded.predict([[1.0]])


def test_types_that_skops_does_not_trust_need_a_name_twice(tmp_path: Path) -> None:
    model = Homemade().fit(ROWS, LABELS)
    with pytest.raises(ModelNotAllowed, match="trusted_types="):
        save_sklearn(model, tmp_path / "refused")
    save_sklearn(model, tmp_path / "m", trusted_types=[HOMEMADE])
    with pytest.raises(ModelNotAllowed, match=f"{HOMEMADE}.*HEADRACE_TRUSTED_MODEL_TYPES"):
        load(tmp_path / "m")
    assert load(tmp_path / "m", trusted_types=[HOMEMADE]).predict(ROWS).tolist() == [7] * 4

    fields = yaml.safe_load((tmp_path / "m/MLmodel").read_text())
    fields["flavors"]["sklearn"]["skops_trusted_types"] = None
    (tmp_path / "m/MLmodel").write_text(yaml.safe_dump(fields))
    with pytest.raises(ModelNotAllowed, match="MLmodel does not name"):
        load(tmp_path / "m", trusted_types=[HOMEMADE])


def test_callable_loads_only_where_code_is_allowed(tmp_path: Path) -> None:
    limit = 0.5
    save_callable(lambda frame: frame["acid"] > limit, tmp_path, input_example=ROWS)
    with pytest.raises(ModelNotAllowed, match="HEADRACE_ALLOW_MODEL_CODE=true"):
        load(tmp_path)
    loaded = load(tmp_path, allow_code=True)
    assert loaded.predict(ROWS).tolist() == [False, True, False, True]
    assert loaded.signature == infer_signature(ROWS, ROWS["acid"] > limit)


def test_callable_from_a_source_file(tmp_path: Path) -> None:
    source = tmp_path / "judge.py"
    source.write_text("FACTOR = 2\ndef predict(frame):\n    return frame['acid'] * FACTOR\n")
    save_callable(source, tmp_path / "m", signature=infer_signature(ROWS))
    with pytest.raises(ModelNotAllowed):
        load(tmp_path / "m")
    assert load(tmp_path / "m", allow_code=True).predict(ROWS).tolist() == [0.2, 1.8, 0.4, 1.6]
    (tmp_path / "m/model.py").write_text("1 / 0")
    with pytest.raises(ModelFormatError, match=r"model.py cannot be loaded: ZeroDivisionError"):
        load(tmp_path / "m", allow_code=True)
    (tmp_path / "m/model.py").write_text("")
    with pytest.raises(ModelFormatError, match=r"must define a function predict"):
        load(tmp_path / "m", allow_code=True)


def test_a_pickle_named_as_skops_runs_nothing(tmp_path: Path) -> None:
    save_sklearn(trained(), tmp_path / "m")
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (trap,))

    (tmp_path / "m/model.skops").write_bytes(cloudpickle.dumps(Trap()))
    with pytest.raises(ModelFormatError, match=r"model.skops cannot be loaded"):
        load(tmp_path / "m", allow_code=True)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "MLmodel cannot be read"),
        ("{", "MLmodel cannot be read"),
        ("- a", "must be a mapping, got list"),
        ("flavors: 3", "flavors must be a mapping"),
        ("flavors: {}", r"none of its flavors \(none\)"),
        ("flavors: {keras: {}}", r"none of its flavors \(keras\)"),
        ("flavors: {}\nsignature: 3", "signature must be a mapping"),
        ("flavors: {sklearn: {serialization_format: joblib}}", "must name a file, got None"),
        ("flavors: {sklearn: {serialization_format: skops}}", "must name a file, got None"),
        ("flavors: {sklearn: {serialization_format: skops, pickled_model: ../x}}", "no file of this model"),
        ("flavors: {sklearn: {serialization_format: skops, pickled_model: /etc/passwd}}", "no file of this model"),
        ("flavors: {sklearn: {}, python_function: {predict_fn: __reduce__}}", "predict_fn: must be one of predict, "),
        ("flavors: {sklearn: {pickled_model: MLmodel}}", "must be one of skops, cloudpickle, pickle, got None"),
        ("flavors: {python_function: {callable: {format: exec}}}", "must be cloudpickle or code, got 'exec'"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    (tmp_path.parent / "x").touch()
    if text is not None:
        (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(ModelFormatError, match=said):
        load(tmp_path)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        save_sklearn(trained(), tmp_path)
    with pytest.raises(ValueError, match="predict_fn"):
        save_sklearn(trained(), tmp_path / "m", predict_fn="__reduce__")


def test_importing_models_brings_nothing_heavy() -> None:
    code = (
        "import sys, headrace.models;"
        "print([m for m in ('numpy', 'pandas', 'sklearn', 'skops', 'yaml', 'cloudpickle') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
