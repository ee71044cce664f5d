"""The serving process over real HTTP: MLflow's scoring protocol, errors that name the field, a clean end."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import httpx
import numpy as np
import pandas as pd
import pytest

from fix_serving import ROWS, SPLIT, Served, callable_model, served, sklearn_model
from headrace.models import save_callable

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def moody(frame: pd.DataFrame) -> Any:
    """Does what the first row says."""
    what = frame["what"].iloc[0]
    match what:
        case "sleep":
            time.sleep(frame["seconds"].iloc[0])
            return [what]
        case "nan":
            return pd.DataFrame({"a": [1.0, np.nan, np.inf, -np.inf], "t": pd.Timestamp(2024, 1, 1)})
        case "fail":
            raise RuntimeError("burnt")
        case "object":
            return object()
        case "forever":
            time.sleep(600)
    return {"labels": np.array([1, 2]), "text": "x", "none": None, "raw": b"\x00"}


MOODY = pd.DataFrame({"what": ["fine"], "seconds": [0.0]})


def asks(what: str, seconds: float = 0.0) -> object:
    return {"dataframe_records": [{"what": what, "seconds": seconds}]}


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("wine")
    arguments = ("--version-label", "3", "--instance-dir", str(folder / "i-7"), "--max-body-bytes", "100000")
    with served(sklearn_model(folder / "m"), *arguments, log=folder / "log") as running:
        yield running


@pytest.fixture
def moods(tmp_path: Path) -> Iterator[Served]:
    folder = callable_model(tmp_path / "m", moody, MOODY)
    with served(folder, "--allow-code", "--drain-seconds", "2", log=tmp_path / "log") as running:
        yield running


def test_says_who_it_is(wine: Served) -> None:
    for path in ("/ping", "/health"):
        answer = wine.http.get(path)
        assert (answer.status_code, answer.text, answer.headers["x-headrace-instance"]) == (200, "\n", "i-7")
    about = wine.http.get("/version").json()
    assert (about["version"], about["flavor"]) == ("3", "sklearn")
    assert float(wine.ready.split("seconds=")[1]) > 0


@pytest.mark.parametrize(
    "body",
    [
        SPLIT,
        {"dataframe_split": {**SPLIT["dataframe_split"], "index": [5, 6]}},
        {"dataframe_records": [{"acid": 0.1, "year": 1, "extra": "x"}, {"year": 2, "acid": 0.9}]},
        {"instances": [[0.1, 1], [0.9, 2]]},
        {"instances": [{"acid": 0.1, "year": 1}, {"acid": 0.9, "year": 2}]},
        {"inputs": {"acid": [0.1, 0.9], "year": [1, 2]}},
        {"inputs": [[0.1, 1], [0.9, 2.0]]},
    ],
)
def test_takes_every_form_of_rows(wine: Served, body: object) -> None:
    answer = wine.ask(body)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [0, 1]}), answer.text
    assert answer.headers["content-type"] == "application/json"


def test_takes_csv(wine: Served) -> None:
    answer = wine.http.post(
        "/invocations",
        content="year,acid,more\n1,0.1,x\n2,0.9,y\n",
        headers={"content-type": "text/csv; charset=UTF-8"},
    )
    assert answer.json() == {"predictions": [0, 1]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "the body is no JSON"),
        ("[" * 100_000, "may have at most 100000 bytes|the body is no JSON"),
        ("3", "one of dataframe_split, dataframe_records, instances, inputs; it has none"),
        ("{}", "it has none"),
        ('{"inputs": [[1]], "instances": [[1]]}', "it has instances, inputs"),
        ('{"instances": [[1, 2]], "params": {"k": 1}}', "params: unknown field"),
        ('{"dataframe_split": []}', "dataframe_split: must be an object with columns and data, got a list"),
        ('{"dataframe_split": {"data": []}}', "dataframe_split.columns: must be a list of names, got nothing"),
        ('{"dataframe_split": {"columns": ["acid"], "data": 3}}', "dataframe_split.data: must be a list of rows"),
        ('{"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}', r"data\[1\]: must be a list of 1 values"),
        ('{"dataframe_records": [1]}', r"dataframe_records\[0\]: must be an object, got a number"),
        ('{"dataframe_records": {"acid": 1}}', "dataframe_records: must be a list of objects, got an object"),
        ('{"instances": {"acid": 1}}', "instances: must be a list of rows"),
        ('{"instances": [[1, 2], [3]]}', r"instances\[1\]: must be a list of 2 values"),
        ('{"instances": [1, 2]}', "the model takes 2 columns, got 1"),
        ('{"inputs": {"acid": [1], "year": [1, 2]}}', "inputs.year: has 2 values, and acid has 1"),
        ('{"inputs": {"acid": 1}}', "inputs.acid: must be a list of values, got a number"),
        ('{"inputs": {"acid": [0.5]}}', "column 'year': is missing"),
        ('{"inputs": {"acid": ["a lot"], "year": [1]}}', "column 'acid': row 0 is 'a lot' .str., .*takes double"),
        ('{"inputs": {"acid": [1], "year": [1.5]}}', "column 'year': row 0 is .*1.5.*takes long"),
        ('{"inputs": {"acid": [1, 1], "year": [1, null]}}', "column 'year': row 1 has no value"),
        ('{"inputs": {"acid": ["NaN"], "year": [1]}}', "the model refused its input: Input X contains NaN"),
        ('{"inputs": {"acid": [null], "year": [1]}}', "the model refused its input: Input X contains NaN"),
    ],
)
def test_bad_input_is_named(wine: Served, body: str, said: str) -> None:
    answer = wine.http.post("/invocations", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert re.search(said, answer.json()["message"]), answer.json()["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=latin-1", "application/x-parquet", ""])
def test_other_content_types_are_415(wine: Served, kind: str) -> None:
    answer = wine.http.post("/invocations", content=b"x", headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error_code"]) == (415, "BAD_REQUEST")
    assert "application/json or text/csv" in answer.json()["message"]


def test_other_requests_are_refused(wine: Served) -> None:
    csv = {"content-type": "text/csv"}
    for body, said in ((b"", "no CSV"), (b"\xff\xfe,\n1,2\n", "no CSV"), (b"acid,year\n1\n2,3,4,5\n", "no CSV")):
        answer = wine.http.post("/invocations", content=body, headers=csv)
        assert answer.status_code == 400
        assert said in answer.json()["message"]
    big = wine.http.post("/invocations", content=b"x" * 100_001, headers=csv)
    assert (big.status_code, big.json()["message"]) == (413, "the body may have at most 100000 bytes")
    assert wine.http.get("/invocations").status_code == 405
    assert wine.http.get("/else").status_code == 404


def test_answers_have_a_json_form(moods: Served) -> None:
    assert moods.ask(asks("other")).json() == {
        "predictions": {"labels": [1, 2], "text": "x", "none": None, "raw": "AA=="}
    }
    rows = moods.ask(asks("nan")).json()["predictions"]
    assert [row["a"] for row in rows] == [1.0, None, "Infinity", "-Infinity"]
    assert rows[0]["t"] == "2024-01-01T00:00:00"
    answer = moods.ask(asks("object"))
    assert (answer.status_code, answer.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert "no JSON form" in answer.json()["message"]
    answer = moods.ask(asks("fail"))
    assert (answer.status_code, answer.json()["message"]) == (500, "the model failed: RuntimeError: burnt")


def test_ping_does_not_wait_for_predictions(moods: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(moods.ask, asks("sleep", 4)) for _ in range(8)]
        time.sleep(0.3)
        assert moods.http.get("/ping").status_code == 200
        assert not any(answer.done() for answer in slow)
        assert [answer.result().status_code for answer in slow] == [200] * 8


def test_sigterm_finishes_what_is_under_way_and_takes_no_more(moods: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(moods.ask, asks("sleep", 1.0))
        time.sleep(0.3)
        moods.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{moods.url}/ping", trust_env=False)
        assert slow.result().json() == {"predictions": ["sleep"]}
    assert moods.process.wait(5) == 0


def test_a_prediction_without_end_does_not_keep_the_process(moods: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(moods.ask, asks("forever"))
        time.sleep(0.3)
        moods.process.send_signal(signal.SIGTERM)
        assert moods.process.wait(5) == 1
        assert isinstance(endless.exception(), httpx.TransportError) or endless.result().status_code == 500


def test_standby_waits_for_its_model_and_ends_with_its_starter(tmp_path: Path) -> None:
    folder = sklearn_model(tmp_path / "m")
    command = [sys.executable, "-I", "-m", "headrace_serving", "--standby", "--instance-dir", str(tmp_path / "i-9")]
    idle = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy:
        assert busy.stdin is not None
        assert busy.stdout is not None
        busy.stdin.write(json.dumps(["--model-dir", str(folder), "--version-label", "4"]).encode() + b"\n")
        busy.stdin.flush()
        assert busy.stdout.readline() == b"STANDBY\n"
        ready = busy.stdout.readline().decode()
        url = "http://" + ready.split()[2].removeprefix("http=")
        ping = httpx.get(f"{url}/ping", trust_env=False)
        assert ping.headers["x-headrace-instance"] == "i-9"
        assert httpx.post(f"{url}/invocations", json=SPLIT, trust_env=False).json() == {"predictions": [0, 1]}
        busy.terminate()
    assert busy.returncode == 0
    assert idle.communicate(timeout=20) == (b"STANDBY\n", None)
    assert idle.returncode == 0


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing", "MLmodel cannot be read"),
        ("code", "HEADRACE_ALLOW_MODEL_CODE=true"),
        ("example", "cannot predict its own serving_input_example.json: KeyError: 'gone'"),
        ("memory", "MemoryError"),
        ("argument", "--model-dir is missing"),
    ],
)
def test_what_cannot_start_says_why_and_exits_1(tmp_path: Path, what: str, said: str) -> None:
    folder, arguments = tmp_path / "m", ["--allow-code"]
    if what in {"code", "example"}:
        callable_model(folder, lambda frame: frame["acid"], ROWS)
        arguments = [] if what == "code" else arguments
    if what == "example":
        text = (folder / "serving_input_example.json").read_text().replace("acid", "bitter")
        (folder / "serving_input_example.json").write_text(text)
        mlmodel = (folder / "MLmodel").read_text()
        (folder / "MLmodel").write_text(mlmodel.replace("acid", "bitter"))
        said = said.replace("gone", "acid")
    if what == "memory":
        hungry = tmp_path / "hungry.py"
        hungry.write_text("import numpy as np\ndef predict(frame):\n    return np.ones(10**9)[:1]\n")
        save_callable(hungry, folder, input_example=ROWS)
        arguments += ["--memory-bytes", str(2 << 30)]
    if what != "argument":
        arguments += ["--model-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-I", "-m", "headrace_serving", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr.strip().splitlines()[-1]
