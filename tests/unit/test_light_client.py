"""`pip install headrace` is light, and `import headrace` is fast."""

import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import headrace

ROOT = Path(__file__).parent.parent.parent
LIGHT = {"grpcio", "protobuf", "googleapis-common-protos", "typing-extensions"}
HEAVY = (
    "numpy",
    "pandas",
    "psutil",
    "pynvml",
    "sklearn",
    "yaml",
    "psycopg",
    "aiohttp",
    "opentelemetry",
    "headrace_kit",
    "headrace_server",
)


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_the_client_depends_on_four_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {dependency.partition(">")[0] for dependency in project["dependencies"]} == LIGHT


def test_importing_headrace_imports_next_to_nothing() -> None:
    loaded = run("import sys; import headrace; print(*sys.modules)").split()
    assert [name for name in loaded if name.startswith("headrace")] == ["headrace"]
    assert not {"grpc", "google.protobuf", "asyncio", "ssl"} & set(loaded)


def test_every_module_of_the_client_loads_without_anything_heavy() -> None:
    names = [
        module.name
        for module in pkgutil.walk_packages(headrace.__path__, "headrace.")
        if not module.name.startswith(("headrace.models.", "headrace.imports."))  # the extras [models] and [import]
    ]
    assert "headrace.cli.tail" in names
    program = f"""
import importlib, sys
for heavy in {HEAVY!r}:
    sys.modules[heavy] = None
for name in {names!r}:
    importlib.import_module(name)
"""
    run(program)


def test_what_is_missing_says_how_to_get_it() -> None:
    program = """
import sys
sys.modules["pandas"] = None
from headrace.tables import RunTable
try:
    RunTable([]).to_pandas()
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(program).endswith("frames need it: pip install pandas\n")


def test_what_system_metrics_lack_is_told_before_the_run_is_made() -> None:
    program = """
import sys
sys.modules["psutil"] = None
import headrace as hr
try:
    hr.start_run(system_metrics=True)
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(program).endswith("system metrics need it: pip install 'headrace[system]'\n")


def test_every_public_name_is_there() -> None:
    for name in headrace.__all__:
        assert getattr(headrace, name) is not None
    assert sorted(headrace.__all__) == dir(headrace)
    assert not hasattr(headrace, "start_rnu")


def test_import_takes_less_than_100_ms() -> None:
    # Of CPU, and the smallest of several, as other processes share the machine. About 12 ms on a quiet one.
    program = "import time; t = time.process_time(); import headrace; print(time.process_time() - t)"
    assert min(float(run(program)) for _ in range(5)) < 0.1
