"""Exports of neptune-exporter, brought into a real Headrace.

That program is on no registry of packages, so its files are made here: with the columns, types and folders that its README
tells of. It names folders and files by what they hold and a digest, on which nothing here depends.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fix_trackers
import headrace as hr
from fix_client import with_client
from fix_services import Running
from headrace import cli
from headrace.imports import neptune
from headrace.imports.report import Report
from headrace.imports.source import SourceRun

BEGAN: Final = datetime(2025, 3, 4, 5, 6, 7, 89_000, UTC)
BEGAN_MS: Final = 1_741_064_767_089
TIME: Final = pa.timestamp("ms", tz="UTC")
SCHEMA: Final = pa.schema(
    [
        ("project_id", pa.string()),
        ("run_id", pa.string()),
        ("attribute_path", pa.string()),
        ("attribute_type", pa.string()),
        ("step", pa.decimal128(18, 6)),
        ("timestamp", TIME),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("string_value", pa.string()),
        ("bool_value", pa.bool_()),
        ("datetime_value", TIME),
        ("string_set_value", pa.list_(pa.string())),
        ("file_value", pa.struct([("path", pa.string())])),
        (
            "histogram_value",
            pa.struct([("type", pa.string()), ("edges", pa.list_(pa.float64())), ("values", pa.list_(pa.float64()))]),
        ),
    ]
)
PROJECT: Final = "bakers/cookies"
FOLDER: Final = "bakers_cookies-0123456789abcdef"


def attribute(path: str, kind: str, **value: object) -> dict[str, object]:
    return {"attribute_path": path, "attribute_type": kind, **value}


def point(
    path: str, step: str, value: float | None, *, kind: str = "float_series", **other: object
) -> dict[str, object]:
    at = BEGAN + timedelta(seconds=float(step))
    numbers = {"float_value": value} if kind == "float_series" else {}
    return attribute(path, kind, step=Decimal(step), timestamp=at, **numbers, **other)


def export(root: Path, run_id: str, *parts: Iterable[Mapping[str, object]]) -> None:
    """Writes a run, each part into a file of its own."""
    folder = root / "data" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(parts):
        whole = [{"project_id": PROJECT, "run_id": run_id, **row} for row in rows]
        table = pa.Table.from_pylist(whole, schema=SCHEMA)
        pq.write_table(table, folder / f"{run_id}-00ff_part_{number}.parquet", compression="snappy")


def a_file(root: Path, path: str, data: bytes) -> dict[str, str]:
    """The value that names it."""
    file = root / "files" / FOLDER / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return {"path": path}


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """Two runs."""
    root = tmp_path / "exports"
    system = [
        attribute("sys/name", "string", string_value="Erster Lauf"),
        attribute("sys/owner", "string", string_value="baker"),
        attribute("sys/description", "string", string_value="Mit Zucker"),
        attribute("sys/creation_time", "datetime", datetime_value=BEGAN),
        attribute("sys/running_time", "float", float_value=12.5),
        attribute("sys/tags", "string_set", string_set_value=["süß", "b"]),
        attribute("sys/failed", "bool", bool_value=True),
    ]
    params = [
        attribute("parameters/lr", "float", float_value=0.1),
        attribute("parameters/layers", "int", int_value=3),
        attribute("parameters/flag", "bool", bool_value=False),
        attribute("parameters/opt@1", "string", string_value="adäm"),
        attribute("parameters/when", "datetime", datetime_value=BEGAN),
        attribute("parameters/of another run", "string"),
        attribute("source", "string", string_value="x" * 7_000),
    ]
    first = [point("train/loss", str(step), 1 / (step + 1)) for step in range(100)]
    second = [point("train/loss", str(step), 1 / (step + 1)) for step in range(100, 150)]
    odd = [point("odd", "0", float("inf")), point("odd", "1.5", 2.0), point("odd", "2", None)]
    said = [point("log", str(step), None, kind="string_series", string_value=text) for step, text in enumerate("äb")]
    shape = {"type": "COUNTING", "edges": [0.0, 1.0, 2.0], "values": [3.0, 4.0]}
    histograms = [point("weights", "5", None, kind="histogram_series", histogram_value=shape)]
    files = [
        attribute("model/weights.bin", "file", file_value=a_file(root, "RUN-1/model/weights_bin", b"weights")),
        attribute("lost.bin", "file", file_value={"path": "RUN-1/lost.bin"}),
        attribute("outside", "file", file_value={"path": "../../data/../../secret"}),
        attribute("images", "file_series", step=Decimal(3), file_value=a_file(root, "RUN-1/images/3.png", b"png")),
        attribute("code", "file_set", file_value={"path": str(Path(a_file(root, "RUN-1/code/a/b.py", b"b")["path"]).parent.parent)}),
        attribute("data", "artifact", file_value=a_file(root, "RUN-1/data/files_list.json", b"[]")),
        attribute("what", "notebook"),
    ]  # fmt: skip
    (tmp_path / "secret").write_text("secret")
    export(root, "RUN-1", [*system, *params, *first, *odd], [*second, *said, *histograms, *files])
    export(root, "RUN-2", [attribute("sys/state", "string", string_value="Running"), point("x", "0", 1.0)])
    return root


def runs(path: Path, **options: Any) -> dict[str, SourceRun]:
    """By Neptune's ids; nothing may fail."""

    report = Report()
    found = {run.tags["neptune.run_id"]: run for run in neptune.read(path, report, **options)}
    assert not report.failures
    return found


async def test_everything_of_a_run_arrives(
    services: Running, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(client: hr.Client) -> None:
        report = fix_trackers.imported(client, runs(exported).values())
        run_id = runs(exported)["RUN-1"].run_id
        run = client.get_run(run_id)
        assert client.get_experiment(PROJECT).id == run.experiment_id
        assert (run.name, run.user, run.state) == ("Erster Lauf", "baker", "FAILED")
        assert run.start_time == BEGAN
        assert run.end_time == BEGAN + timedelta(seconds=12.5)
        assert run.params == {
            "parameters/lr": "0.1",
            "parameters/layers": "3",
            "parameters/flag": "False",
            "parameters/opt_1": "adäm",
            "parameters/when": BEGAN.isoformat(),
        }
        assert run.tags["neptune.sys/tags"] == "süß,b"
        assert run.tags["mlflow.note.content"] == "Mit Zucker"
        assert fix_trackers.points(client, run_id, "train/loss") == [
            (step, BEGAN_MS + 1_000 * step, 1 / (step + 1)) for step in range(150)
        ]
        assert fix_trackers.points(client, run_id, "odd") == [(0, BEGAN_MS, float("inf")), (1, BEGAN_MS + 1_500, 2.0)]
        assert client.get_run(runs(exported)["RUN-2"].run_id).state == "RUNNING"
        check_files(fix_trackers.files(client, run_id, tmp_path / "fetched"))
        assert report.left_out == {
            "points without a value or step (exports have NaN so)": 1,
            "fractions of steps (see --step-multiplier)": 1,
            "files that are not in the export": 2,
            "attributes of type notebook": 1,
            "names spelled otherwise": 1,
        }
        uri = ["--uri", client.connection.uri]
        assert cli.main(["import", "neptune", str(exported), *uri]) == 0
        told = capsys.readouterr().err
        assert "1 fractions of steps (see --step-multiplier)" in told
        assert "0 changed; 0 points and 0 files" in told
        assert (
            cli.main(["import", "neptune", str(exported), "--step-multiplier", "10", "--dry-run", "--json", *uri]) == 0
        )
        would = json.loads(capsys.readouterr().out)
        assert [run["points"] for run in would["runs"]] == [152, 1]
        assert "fractions of steps (see --step-multiplier)" not in would["left_out"]

    await with_client(services, work)


def check_files(found: dict[str, bytes]) -> None:
    shape = json.loads(found.pop("weights.jsonl"))
    assert shape["step"] == "5"
    assert (shape["edges"], shape["values"]) == ([0.0, 1.0, 2.0], [3.0, 4.0])
    after = BEGAN + timedelta(seconds=1)
    assert found.pop("log.csv").decode() == f"step,time,value\n0,{BEGAN.isoformat()},ä\n1,{after.isoformat()},b\n"
    assert found == {
        "model/weights.bin": b"weights",
        "images/3.png": b"png",
        "code/a/b.py": b"b",
        "data/files_list.json": b"[]",
        "params/source.txt": b"x" * 7_000,
    }


def test_the_folder_may_be_named_at_each_height(exported: Path) -> None:
    whole = runs(exported)
    for path in (exported / "data", exported / "data" / FOLDER):
        assert {name: run.run_id for name, run in runs(path).items()} == {n: run.run_id for n, run in whole.items()}
        assert len(list(runs(path)["RUN-1"].files())) == len(list(whole["RUN-1"].files())) == 7
    elsewhere = exported.parent / "elsewhere"
    (exported / "files").rename(elsewhere)
    assert len(list(runs(exported, files=elsewhere)["RUN-1"].files())) == 7


def test_steps_with_fractions_can_be_multiplied(exported: Path) -> None:
    run = runs(exported, multiplier=10)["RUN-1"]
    (odd,) = (series for series in run.series() if series.key == "odd")
    assert list(odd.steps) == [0, 15]
    assert not run.left_out["fractions of steps (see --step-multiplier)"]


def test_what_cannot_be_read_is_told_and_the_rest_read(exported: Path) -> None:
    folder = exported / "data" / FOLDER
    (broken,) = folder.glob("RUN-2-*")
    broken.write_bytes(broken.read_bytes()[:-20])
    (folder / "RUN-3-00_part_0.parquet.tmp").touch()
    other = pa.table({"project_id": ["x"]})
    pq.write_table(other, folder / "RUN-4-00_part_0.parquet")
    report = Report()
    found = list(neptune.read(exported, report))
    assert [run.tags["neptune.run_id"] for run in found] == ["RUN-1"]
    tmp, cut, other_columns = report.failures
    assert "RUN-3-00_part_0.parquet.tmp: the export of this run was not finished" in tmp
    assert str(broken) in cut
    assert "RUN-4" in other_columns
    assert "lacks the columns attribute_path, attribute_type" in other_columns


def test_what_is_no_export_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(hr.errors.InvalidRequest, match=r"no \*_part_0\.parquet"):
        runs(tmp_path)
