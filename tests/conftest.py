"""What all tests share."""

from pathlib import Path
from typing import Final, cast

import pytest

pytest_plugins = ["fix_backends", "fix_client", "fix_platform", "fix_mlflow", "fix_transfers", "fix_imports"]

_ORDER: Final = ("rest", "imports", "e2e", "faults", "contract", "service", "unit")
_GROUPS: Final = {"platform": "platform", "moved": "moved", "servers": "mlflow", "mlflow_on_s3": "mlflow"}
_PLACES: Final = {"embedded": "servers", "distributed": "platform", "mlflow": "mlflow_on_s3"}
_TESTS: Final = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For processes that share the tests (`make test`): the long ones come first, so that all end at the same time, and
    those of the platform, and those beside MLflow, go to one process, so that only one starts it.
    """
    items.sort(key=_turn)
    for item in items:
        if group := _group(cast("pytest.Function", item)):
            item.add_marker(pytest.mark.xdist_group(group))


def _group(item: pytest.Function) -> str | None:
    place = item.callspec.params.get("place") if hasattr(item, "callspec") else None
    needs = {*item.fixturenames, _PLACES.get(str(place))}
    return next((group for fixture, group in _GROUPS.items() if fixture in needs), None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups are part of the ids of tests in pytest-xdist's processes; where they are not, each starts everything."""
    groups = [item for item in session.items if item.get_closest_marker("xdist_group")]
    if getattr(session.config.option, "loadgroup", False) and not all("@" in item.nodeid for item in groups):
        raise pytest.UsageError("this pytest-xdist knows no groups with this pytest: see pyproject.toml")


def _turn(item: pytest.Item) -> int:
    folder = item.path.relative_to(_TESTS).parts[0]
    return _ORDER.index(folder) if folder in _ORDER else len(_ORDER)


@pytest.fixture(autouse=True)
def _spool_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes into the user's spool, nor finds what another left."""
    place = tmp_path_factory.mktemp("spool")
    monkeypatch.setenv("HEADRACE_SPOOL", str(place))
    return place
