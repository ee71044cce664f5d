"""Environments of other programs: made once, by one, whoever else wants it at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace_kit.testing import peers


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    requirements = tmp_path / "some.txt"
    requirements.write_text("# a comment\nsome-package==1.0\n")
    return requirements


def is_whole(wanted: Path) -> bool:
    return (peers.python(wanted).parents[1] / "whole").exists()


def test_nobody_gets_an_environment_that_is_half_made(wanted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def make(folder: Path, _: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()
        begun.set()
        assert go_on.wait(60)
        (folder / "whole").touch()

    monkeypatch.setattr(peers, "_make", make)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(peers.python, wanted)
        assert begun.wait(60)
        second = pool.submit(is_whole, wanted)
        with pytest.raises(TimeoutError):
            second.result(0.3)
        go_on.set()
        assert second.result(60)
        assert first.result(60).name == "python"


def test_what_cannot_be_installed_leaves_nothing_behind(wanted: Path, tmp_path: Path) -> None:
    wanted.write_text(f"some-package @ file://{tmp_path}/nowhere.whl\n")
    for _ in range(2):
        with pytest.raises(peers.NoPeer, match="cannot be installed"):
            peers.python(wanted)
