"""`make import-trial`: moves a whole MLflow to Headrace, kills the move half-way, and goes on.

An MLflow on PostgreSQL with 1,000 runs, 5 million points, 50 model versions and their files (its tables filled by COPY, as
logging them takes hours). `headrace import mlflow` reads the database; it is killed with -9 when half of the runs are there,
started again, and then twice more, when nothing may change. Prints what each took, and ends with 1 where the sides differ.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from headrace.client import Client
from rig import peers, servers
from rig.processes import Failed

MS: Final = 1_700_000_000_000
KEYS: Final = ("loss", "accuracy", "val/loss", "val/accuracy", "learning rate")
POINTS: Final = 1_000
"""Of a series."""
EXPERIMENT: Final = "trial"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--versions", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-trial-") as name, ExitStack() as stack:
        folder = Path(name)
        postgres = stack.enter_context(servers.Postgres(folder / "postgres").running())
        mlflow = stack.enter_context(servers.mlflow(folder, postgres, peers.python("mlflow")))
        began = time.monotonic()
        size = fill(mlflow.database, folder / "mlflow-artifacts", asked.runs, asked.versions)
        points = asked.runs * len(KEYS) * POINTS
        print(f"MLflow {peers.version('mlflow')} on PostgreSQL: {asked.runs:,} runs, {points:,} points,", end=" ")
        print(
            f"{asked.versions} versions, {size:,} bytes of files (made in {time.monotonic() - began:.0f} s)", flush=True
        )
        headrace = stack.enter_context(servers.embedded(folder))
        source = (postgres.uri("postgresql+psycopg2", "mlflow"), "--artifacts", str(folder / "mlflow-artifacts"))
        return trial(headrace, folder, source, asked.runs, points)


def trial(headrace: servers.Headrace, folder: Path, source: tuple[str, ...], runs: int, points: int) -> int:
    environ = {"HEADRACE_URI": headrace.uri, "HEADRACE_STATE": str(folder / "state")}
    began = time.monotonic()
    first = start(source, environ)
    killed_with = wait_for_half(headrace.uri, runs, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    until_killed = time.monotonic() - began
    print(f"killed with -9 after {until_killed:.1f} s, with {killed_with:,} runs of {runs:,} there", flush=True)
    resumed, resumed_s = whole("resumed", source, environ)
    sent, total_s = resumed["points_sent"], until_killed + resumed_s
    print(f"  {sent:,} points sent by the second attempt; all in {total_s / 60:.1f} minutes", end=": ")
    print(f"{points / total_s:,.0f} points/s, read back and compared", flush=True)
    again, _ = whole("again", source, environ)
    everything, _ = whole("again, everything read", (*source, "--read-all"), environ)
    counted = count_points(headrace.uri, runs)
    print(f"counted through ReadMetrics by this program: {counted:,} points, {points:,} in MLflow's table")
    same = all(said["same"] and not said["refused"] for said in (resumed, again, everything))
    well = same and not again["changed"] and not everything["changed"] and counted == points
    for kind, one in resumed["source"].items():
        other = resumed["headrace"][kind]
        print(f"  {kind:14} {one['count']:>10,} {other['count']:>10,}  {one['checksum']}  {other['checksum']}")
    print("both sides are the same, and nothing changed again" if well else "THE SIDES DIFFER")
    return 0 if well else 1


def start(arguments: tuple[str, ...], environ: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("headrace")), "import", "mlflow", *arguments, "--json"],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def whole(what: str, arguments: tuple[str, ...], environ: dict[str, str]) -> tuple[Any, float]:
    began = time.monotonic()
    process = start(arguments, environ)
    said, told = process.communicate()
    seconds = time.monotonic() - began
    if process.returncode not in {0, 1} or not said:
        raise Failed(told[-3000:])
    report = json.loads(said)
    print(f"{what}: {seconds:.1f} s, {report['changed']:,} changed, {report['points_sent']:,} points sent,", end=" ")
    print(f"{report['files_sent']:,} files with {report['bytes_sent']:,} bytes", flush=True)
    return report, seconds


def wait_for_half(uri: str, runs: int, process: "subprocess.Popen[str]") -> int:
    with Client(uri) as client:
        while process.poll() is None:
            known = [one for one in client.search_experiments() if one.name == EXPERIMENT]
            there = len(client.search_runs([EXPERIMENT], limit=runs)) if known else 0
            if there >= runs // 2:
                return there
            time.sleep(0.2)
    raise Failed(f"it ended before it could be killed: {process.communicate()[1][-3000:]}")


def count_points(uri: str, runs: int) -> int:
    with Client(uri) as client:
        ids = [run.run_id for run in client.search_runs([EXPERIMENT], limit=runs)]
        parts = (ids[start : start + 20] for start in range(0, len(ids), 20))
        return sum(len(series) for part in parts for series in client.metric_histories(part).values())


def fill(database: str, artifacts: Path, runs: int, versions: int) -> int:
    """Rows and files as MLflow's server makes them; bytes of the files."""
    draw = random.Random(1)
    ids = [f"{draw.getrandbits(128):032x}" for _ in range(runs)]
    with psycopg.connect(database) as conn:
        made = conn.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)"
            " VALUES (%s, 'mlflow-artifacts:/9', 'active', %s, %s, 'default') RETURNING experiment_id",
            (EXPERIMENT, MS, MS),
        ).fetchone()
        experiment = made[0] if made else 0
        _copy_runs(conn, experiment, ids)
        for run_id in ids:
            _copy_points(conn, run_id, draw)
        size = sum(_file(artifacts / f"{experiment}/{run_id}/artifacts/log.txt", draw, 2_000) for run_id in ids)
        size += _models(conn, artifacts, experiment, ids[:versions], draw)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("ANALYZE")
    return size


def _copy_runs(conn: "psycopg.Connection[Any]", experiment: int, ids: list[str]) -> None:
    with conn.cursor().copy(
        "COPY runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri,"
        " experiment_id) FROM STDIN"
    ) as copy:
        for at, run_id in enumerate(ids):
            uri = f"mlflow-artifacts:/{experiment}/{run_id}/artifacts"
            copy.write_row(
                (run_id, f"run-{at}", "LOCAL", "ada", "FINISHED", MS + at, MS + at + 60_000, "active", uri, experiment)
            )
    with conn.cursor().copy("COPY params (key, value, run_uuid) FROM STDIN") as copy:
        for run_id in ids:
            for number in range(10):
                copy.write_row((f"param {number}", f"{number * math.pi!r}", run_id))
    with conn.cursor().copy("COPY tags (key, value, run_uuid) FROM STDIN") as copy:
        for at, run_id in enumerate(ids):
            for key, value in (("mlflow.runName", f"run-{at}"), ("team", "pastry"), ("seed", str(at))):
                copy.write_row((key, value, run_id))


def _copy_points(conn: "psycopg.Connection[Any]", run_id: str, draw: random.Random) -> None:
    curves = np.random.default_rng(draw.getrandbits(32)).standard_normal((len(KEYS), POINTS)).cumsum(axis=1)
    with conn.cursor().copy(
        "COPY metrics (key, value, timestamp, step, is_nan, run_uuid) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.set_types(["varchar", "float8", "int8", "int8", "bool", "varchar"])
        for key, curve in zip(KEYS, curves.tolist(), strict=True):
            for step, value in enumerate(curve):
                copy.write_row((key, value, MS + 50 * step, step, False, run_id))
    with conn.cursor().copy("COPY latest_metrics (key, value, timestamp, step, is_nan, run_uuid) FROM STDIN") as copy:
        for key, curve in zip(KEYS, curves, strict=True):
            copy.write_row((key, float(curve[-1]), MS + 50 * (POINTS - 1), POINTS - 1, False, run_id))


def _models(
    conn: "psycopg.Connection[Any]", artifacts: Path, experiment: int, runs: list[str], draw: random.Random
) -> int:
    conn.execute(
        "INSERT INTO registered_models (workspace, name, creation_time, last_updated_time, description)"
        " VALUES ('default', 'bread', %s, %s, 'made of flour')",
        (MS, MS),
    )
    size = 0
    for at, run_id in enumerate(runs):
        model_id = f"m-{draw.getrandbits(128):032x}"
        where = f"mlflow-artifacts:/{experiment}/models/{model_id}/artifacts"
        conn.execute(
            "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
            " last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id)"
            " VALUES (%s, %s, 'oven', %s, %s, %s, 2, 'active', 'sklearn', %s)",
            (model_id, experiment, where, MS + at, MS + at, run_id),
        )
        conn.execute(
            "INSERT INTO model_versions (workspace, name, version, creation_time, last_updated_time, current_stage, source,"
            " run_id, status) VALUES ('default', 'bread', %s, %s, %s, 'None', %s, %s, 'READY')",
            (at + 1, MS + at, MS + at, f"models:/{model_id}", run_id),
        )
        for name, length in (("MLmodel", 600), ("model.skops", 200_000), ("requirements.txt", 80)):
            size += _file(artifacts / f"{experiment}/models/{model_id}/artifacts/{name}", draw, length)
    conn.execute(
        "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES ('default', 'bread', 'best', %s)",
        (len(runs),),
    )
    return size


def _file(path: Path, draw: random.Random, length: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(draw.randbytes(length))
    return length


if __name__ == "__main__":
    sys.exit(main())
