"""`headrace gc`: what it asks for, what it tells."""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fake_headrace import FakeHeadrace, serving
from headrace import cli
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.cli import gc


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("1d12h30m5s", timedelta(days=1, hours=12, minutes=30, seconds=5)),
        ("0d", timedelta()),
    ],
)
def test_ages(text: str, expected: timedelta) -> None:
    assert gc.age(text) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1h1d", "1w", "9999999999999d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        gc.age(text)


def test_an_age_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["gc"])
    assert "--older-than" in capsys.readouterr().err


def test_pages_are_asked_for_to_the_end(fake: FakeHeadrace, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[wire.PurgeBinRequest] = []

    def purge_bin(request: wire.PurgeBinRequest, context: Any) -> wire.PurgeBinResponse:
        asked.append(request)
        if not request.page_token:
            run = wire.PurgedRun(run_id="a", experiment_id="0", points=1000, size_bytes=9000)
            return wire.PurgeBinResponse(runs=[run], next_page_token="more")
        return wire.PurgeBinResponse(experiment_ids=["7"])

    fake.stop()
    fake.tracking.PurgeBin = purge_bin  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    fake.start()
    arguments = ["gc", "--older-than", "30d", "--run", "a", "--experiment", "0", "--dry-run", "--uri", fake.uri]
    assert cli.main(arguments) == 0
    told = capsys.readouterr()
    assert [line.split()[:2] for line in told.out.splitlines()[1:]] == [["a", "0"], ["(the", "experiment)"]]
    assert "would be purged: 1 runs and 1 experiments, with 1,000 points in 9,000 bytes" in told.err
    first, second = asked
    assert (list(first.run_ids), list(first.experiment_ids), first.dry_run) == (["a"], ["0"], True)
    age = datetime.now(UTC) - first.deleted_before.ToDatetime(UTC)
    assert timedelta(days=30) <= age < timedelta(days=31)
    assert (second.page_token, second.deleted_before) == ("more", first.deleted_before)
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["purged"][1] == {
        "run_id": "",
        "experiment_id": "7",
        "points": 0,
        "size_bytes": 0,
    }
