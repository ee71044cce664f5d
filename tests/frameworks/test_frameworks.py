"""Frameworks whose packages are too large for `make test`, with MLflow's own client; `make test-frameworks`."""

from pathlib import Path
from typing import Final

import pytest

from fix_mlflow import run_client
from fix_platform import up
from headrace_kit.testing import peers

_HERE: Final = Path(__file__).parent


@pytest.mark.frameworks
@pytest.mark.timeout(3600)
def test_autologging_and_models(tmp_path: Path) -> None:
    python = peers.python(_HERE / "requirements.txt")
    with up(tmp_path / "data") as uri:
        said = run_client(python, uri, _HERE / "frameworks.py", DO_NOT_TRACK="true")
    parts = [line.partition(":")[0] for line in said.splitlines() if line.endswith(" s")]
    assert parts == ["pytorch", "lightning_autolog", "keras_autolog"]
