"""Runs in the environment of wandb: logs runs offline, and prints as JSON what it logged.

`runs` logs finished, failed and resumed ones; `killed` says "logged" and waits to be killed.
"""

import json
import math
import sys
import time
from pathlib import Path

import wandb
from wandb.proto import wandb_internal_pb2

BEGAN = 1_700_000_000.0
KILLED_ROWS = 3_000


def rows(count: int) -> "list[dict[str, object]]":
    """Of a history; times are whole quarters of a second, which floats hold exactly."""
    return [
        {
            "loss": 1 / (step + 1),
            "nested": {"a": step, "b": {"c": -step}},
            "ü/Größe": step * 0.1,
            "odd": (math.nan, math.inf, -math.inf)[step % 3],
            "on": step % 2 == 0,
            "said": "hello",
            "_timestamp": BEGAN + step / 4,
        }
        for step in range(count)
    ]


def first() -> None:
    """One with everything in it."""
    run = wandb.init(
        mode="offline",
        entity="bakers",
        project="Kekse",
        id="first",
        name="Erster Lauf",
        group="oven",
        job_type="train",
        notes="Mit Zucker",
        tags=["süß", "b"],
        config={"lr": 0.1, "net": {"layers": [1, 2], "act": "relu"}, "none": None, "flag": True, "long": "x" * 7_000},
    )
    run.define_metric("loss", summary="min")
    for row in rows(50):
        run.log(row)
    table = wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])
    histogram = wandb.Histogram(np_histogram=([1, 2], [0.0, 1.0, 2.0]))
    run.log({"table": table, "page": wandb.Html("<b>x</b>"), "histogram": histogram, "list": [1, 2]})
    run.log({"what@ever": 5.0, "what_ever": 6.0, "_timestamp": BEGAN + 100}, step=1_000)
    run.summary["best"] = 0.25
    run.summary["verdict"] = "good"
    run.summary["deep"] = {"one": 1, "two": "two"}
    run.summary["deep"]["one"] = 11
    run.summary["gone"] = 1
    del run.summary["gone"]
    run.config.update({"net": {"act": "gelu"}, "later": 3}, allow_val_change=True)
    artifact = wandb.Artifact("flour", "dataset")
    artifact.add_file(__file__, name="program.py")
    run.log_artifact(artifact)
    Path("saved.txt").write_text("saved")
    run.save("saved.txt")
    run.alert("burnt", "really")
    run.finish()


def failed() -> None:
    """Of no project."""
    run = wandb.init(mode="offline", id="failed")
    run.log({"loss": 2.0, "_timestamp": BEGAN})
    run.finish(exit_code=3)


def resumed() -> None:
    """In two parts."""
    for part in range(2):
        run = wandb.init(mode="offline", project="Kekse", id="resumed", resume="allow", config={f"part{part}": part})
        for step in range(3):
            run.log({"loss": part * 10 + step, "_timestamp": BEGAN + part * 10 + step})
        run.finish()
        time.sleep(1.1)  # the name of a run's folder has its second


def killed() -> None:
    """Does not end by itself."""
    run = wandb.init(mode="offline", project="Kekse", id="killed")
    for row in rows(KILLED_ROWS):
        run.log(row)
    print("logged", flush=True)
    time.sleep(600)


def numbers(message: str) -> "dict[str, int]":
    """Of the fields of a message of wandb's."""
    return {field.name: field.number for field in wandb_internal_pb2.DESCRIPTOR.message_types_by_name[message].fields}


if __name__ == "__main__":
    if sys.argv[1] == "killed":
        killed()
    elif sys.argv[1] == "numbers":
        print(json.dumps({name: numbers(name) for name in wandb_internal_pb2.DESCRIPTOR.message_types_by_name}))
    else:
        first()
        failed()
        resumed()
