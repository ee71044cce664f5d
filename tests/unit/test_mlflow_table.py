"""The table of MLflow's routes says the truth: each route calls the RPCs that it names, and no other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace_gateway.mlflow as package
from headrace_gateway.mlflow.door import check_policy
from headrace_gateway.mlflow.server import info
from headrace_gateway.mlflow.table import ROUTES, Route
from headrace_kit.rpc import PolicyMissing

FOLDER = Path(package.__file__).parent


def functions() -> Iterator[tuple[str, ast.AST]]:
    """Every function of the package, as "module.function"."""
    for file in FOLDER.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{file.stem}.{node.name}", node


SOURCES = dict(functions())


def rpcs_of(function: str, seen: set[str]) -> set[str]:
    """What it calls as `calls.to.<service>.<method>`, itself or by other functions of the package."""
    if function in seen or function not in SOURCES:
        return set()
    seen.add(function)
    module = function.partition(".")[0]
    found: set[str] = set()
    for node in ast.walk(SOURCES[function]):
        match node:
            case ast.Attribute(attr=method, value=ast.Attribute(attr=service, value=ast.Attribute(attr="to"))):
                found.add(f"{service}.{method}")
            case ast.Attribute(attr=name, value=ast.Name(id=other)):
                found |= rpcs_of(f"{other}.{name}", seen)
            case ast.Name(id=name):
                found |= rpcs_of(f"{module}.{name}", seen)
            case _:
                pass
    return found


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.verbs} {route.path}")
def test_a_route_names_what_it_calls(route: Route) -> None:
    name = f"{route.handler.__module__.rpartition('.')[2]}.{route.handler.__name__}"
    assert rpcs_of(name, set()) == set(route.rpcs)


def test_no_route_stands_there_twice() -> None:
    places = [
        (prefix + route.path, verb) for route in ROUTES for prefix in route.prefixes for verb in route.verbs.split()
    ]
    assert len(places) == len(set(places))


@pytest.mark.parametrize(
    "route",
    [
        Route("GET", "nothing", info),
        Route("GET", "both", info, ("tracking.GetRun",), open="because"),
        Route("GET", "unknown", info, ("tracking.GetRuns",)),
        Route("GET", "between", info, ("identity.ResolveToken",)),
    ],
)
def test_a_route_without_a_policy_cannot_be(route: Route) -> None:
    with pytest.raises(PolicyMissing, match=route.path):
        check_policy(route)
