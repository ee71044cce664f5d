"""Models that MLflow wrote: loaded without MLflow where that can be, and with leave only where they run code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pandas as pd
import pytest
import yaml

from fix_serving import served
from headrace.models import ModelFormatError, ModelNotAllowed, SchemaError, load

ROWS: Final = pd.DataFrame({"acid": [0.1, 0.9, 0.2], "year": [1.0, 2.0, 3.0]})
SAFE: Final = ("sklearn-skops", "sklearn-array", "xgboost-ubj", "xgboost-json", "xgboost-estimator", "lightgbm-booster", "lightgbm-estimator")  # fmt: skip
CODE: Final = ("sklearn-pickle", "sklearn-cloudpickle", "pyfunc")

pytestmark = pytest.mark.xdist_group("models-of-mlflow")  # one process makes the folders


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder a model."""
    folder = tmp_path_factory.mktemp("of-mlflow")
    script = Path(__file__).with_name("mlflow_models.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def expected(written: Path, name: str) -> list[float]:
    found: list[float] = json.loads((written / "expected.json").read_text())[name]
    return found


def test_safe_files_need_no_leave_and_no_mlflow(written: Path) -> None:
    program = f"""
import json, sys
sys.modules["mlflow"] = None
from pathlib import Path
import pandas as pd
from headrace.models import load
rows = pd.DataFrame({ROWS.to_dict("list")})
print(json.dumps({{name: load(Path({str(written)!r}, name)).predict(rows).tolist() for name in {SAFE}}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    for name in SAFE:
        assert found[name] == pytest.approx(expected(written, name)), name


@pytest.mark.parametrize("name", CODE)
def test_code_needs_leave(written: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotAllowed, match="HEADRACE_ALLOW_MODEL_CODE=true"):
        load(written / name)
    with served(written / name, "--allow-code", log=tmp_path / "log") as model:
        answer = model.ask({"dataframe_split": ROWS.to_dict("split", index=False)})
        assert answer.json() == {"predictions": pytest.approx(expected(written, name))}
        assert model.ask({"dataframe_split": {"columns": ["acid"], "data": [[0.1]]}}).status_code == 400


def test_what_only_mlflow_loads_says_so_where_it_is_not_installed(written: Path) -> None:
    program = (
        "import sys\nsys.modules['mlflow'] = None\nfrom pathlib import Path\nfrom headrace.models import load\n"
        f"load(Path({str(written / 'pyfunc')!r}), allow_code=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "loaded by mlflow.pyfunc.model, and MLflow is not installed where it is loaded" in done.stderr
    assert "pip install 'headrace[mlflow]'" in done.stderr


def test_a_booster_without_its_library_says_so(written: Path) -> None:
    program = (
        "import sys\nsys.modules['xgboost'] = None\nfrom pathlib import Path\nfrom headrace.models import load\n"
        f"load(Path({str(written / 'xgboost-ubj')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "a model of xgboost, which is not installed where it is loaded" in done.stderr


def test_modules_of_a_model_are_code_and_its_types_are_to_be_trusted(written: Path, tmp_path: Path) -> None:
    folder = written / "sklearn-modules"
    with pytest.raises(ModelNotAllowed, match="brings Python modules of its own"):
        load(folder, trusted_types=["homemade.Homemade"])
    with pytest.raises(ModelNotAllowed, match=r"homemade\.Homemade.*HEADRACE_TRUSTED_MODEL_TYPES"):
        load(folder, allow_code=True)
    with served(folder, "--allow-code", "--trusted-types", "homemade.Homemade", log=tmp_path / "log") as model:
        assert model.ask({"instances": ROWS.to_dict("records")}).json() == {"predictions": [7, 7, 7]}


def test_rows_of_an_array_are_checked_as_columns(written: Path) -> None:
    loaded = load(written / "sklearn-array")
    assert loaded.predict([[0.1, 1], [0.9, 2]]).tolist() == [0, 1]
    with pytest.raises(SchemaError, match="takes 2 columns, got 1"):
        loaded.predict([[0.1], [0.9]])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model_class": "os.system"}, r"flavors\.xgboost\.model_class: must be one of xgboost\.core\.Booster"),
        ({"data": "../elsewhere"}, r"flavors\.xgboost\.data names '\.\./elsewhere'"),
        ({"code": ".."}, "code names '..', which is no folder of this model"),
    ],
)
def test_what_an_mlmodel_names_stays_in_bounds(
    written: Path, tmp_path: Path, changed: dict[str, str], told: str
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for file in (written / "xgboost-ubj").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    described = yaml.safe_load((folder / "MLmodel").read_text())
    described["flavors"]["xgboost"] |= changed
    (folder / "MLmodel").write_text(yaml.safe_dump(described))
    with pytest.raises(ModelFormatError, match=told):
        load(folder, allow_code=True)
