"""What all tests share."""

from pathlib import Path
from typing import Final, cast

import pytest

pytest_plugins = ["fix_backends", "fix_client", "fix_platform", "fix_mlflow", "fix_transfers", "fix_imports"]

_ORDER: Final = ("faults", "contract", "rest", "imports", "service", "e2e", "unit")
_TESTS: Final = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For processes that share the tests (`make test`): the long ones come first, so that all end at the same time, and
    those of the platform, and those beside MLflow, go to one process, so that only one starts it.
    """
    items.sort(key=_turn)
    for item in items:
        if "platform" in cast("pytest.Function", item).fixturenames:
            item.add_marker(pytest.mark.xdist_group("platform"))
        elif "moved" in cast("pytest.Function", item).fixturenames:
            item.add_marker(pytest.mark.xdist_group("moved"))
        elif "servers" in cast("pytest.Function", item).fixturenames:
            item.add_marker(pytest.mark.xdist_group("mlflow"))


def _turn(item: pytest.Item) -> int:
    folder = item.path.relative_to(_TESTS).parts[0]
    return _ORDER.index(folder) if folder in _ORDER else len(_ORDER)


@pytest.fixture(autouse=True)
def _spool_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes into the user's spool, nor finds what another left."""
    place = tmp_path_factory.mktemp("spool")
    monkeypatch.setenv("HEADRACE_SPOOL", str(place))
    return place
