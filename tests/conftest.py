"""What all tests share."""

from pathlib import Path

import pytest

pytest_plugins = ["fix_backends", "fix_client", "fix_platform"]


@pytest.fixture(autouse=True)
def _spool_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes into the user's spool, nor finds what another left."""
    place = tmp_path_factory.mktemp("spool")
    monkeypatch.setenv("HEADRACE_SPOOL", str(place))
    return place
