"""The public API as type checkers see it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_mypy_knows_the_public_api(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--follow-imports", "silent"),
            *("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path)),
            str(ROOT / "tests/typing/public_api.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
