"""Requests of any shape: none of them is answered with a failure of the server's own, and each refusal says why."""

import json
import re
import typing
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_mlflow import Name, Rest, unique
from headrace_gateway.mlflow import wire
from headrace_gateway.mlflow.table import ROUTES, Route

_SLOW: Final = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
_MEANT: Final = ("INVALID_STATE", "is not an Active stage")
"""What MLflow answers with 500, and its clients know so."""
_IN_QUERY: Final = ("run_id", "path", "artifact_file_path", "name", "version")
"""What handlers that take the HTTP request as it is look for."""

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "0", "1", "NaN", "a/b", "../x", "\x00", "m-" + "0" * 32, "0" * 32, "%2e%2e/", "x" * 10_000, "true"]
    ),
    st.sampled_from(["metrics.a > 1", "tags.b = 'c' AND", "name LIKE '%'", "NOT (", "metrics.a DESC", "start_time"]),
    st.from_regex(r"runs:/[0-9a-f]{32}/.*|models:/[a-z]+/[0-9]+|s3://[a-z.]+", fullmatch=True),
)
scalars = st.one_of(
    texts,
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from([2**63, -(2**63) - 1]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def id_of(route: Route) -> str:
    return f"{route.verbs} {route.path}".replace("/", ".")


@pytest.fixture(scope="module")
def known(servers: dict[Name, Rest]) -> dict[str, str]:
    """Things that are there, so that a request gets further than its ids."""
    rest = servers["headrace"]
    experiment_id = rest.experiment()
    run_id = rest.run(experiment_id)
    model = rest.model()
    events = [{"entity": "MODEL_VERSION", "action": "CREATED"}]
    hook = rest.post("webhooks", name="hook", url="https://receiver.invalid/", events=events)
    webhook_id = hook["webhook"]["webhook_id"]
    return {
        "experiment_id": experiment_id,
        "run_id": run_id,
        "folder": f"{experiment_id}/{run_id}/artifacts",
        "model_id": str(rest.post("logged-models", experiment_id=experiment_id, name="m")["model"]["info"]["model_id"]),
        "name": model,
        "version": rest.version(model),
        "new_name": unique("fuzzed"),
        "webhook_id": webhook_id,
    }


@pytest.mark.parametrize("route", [route for route in ROUTES if "{path}" not in route.path], ids=id_of)
def test_no_request_makes_a_failure(route: Route, servers: dict[Name, Rest], known: dict[str, str]) -> None:
    rest = servers["headrace"]
    kind = typing.get_type_hints(route.handler)["request"]
    fields = kind.__struct_fields__ if issubclass(kind, wire.Request) else _IN_QUERY
    values = {name: st.one_of(st.just(known[name]), shaped(name)) if name in known else shaped(name) for name in fields}

    @settings(max_examples=25, deadline=None, suppress_health_check=_SLOW, derandomize=True, database=None)
    @given(given_fields=st.fixed_dictionaries({}, optional=values), in_path=texts)
    def play(given_fields: dict[str, Any], in_path: str) -> None:
        path = route.prefixes[0] + route.path
        for name in re.findall(r"\{(\w+)\}", path):
            part = str(given_fields.pop(name, "")) or in_path
            path = path.replace(f"{{{name}}}", httpx_safe(part))
        for verb in route.verbs.split():
            if verb == "GET":
                plain = {name: value for name, value in given_fields.items() if not isinstance(value, dict)}
                answer = rest.call("GET", path, **{name: flat(value) for name, value in plain.items()})
            else:
                answer = rest.call(verb, path, raw=json.dumps(given_fields).encode())
            if answer.status >= 500:
                assert any(text in str(answer.body) for text in _MEANT), (verb, path, given_fields, answer)
            elif answer.status >= 400 and isinstance(answer.body, dict):
                assert answer.code
                assert answer.message

    play()


def shaped(name: str) -> st.SearchStrategy[Any]:
    """Values that are more often of the field's form than chance would make them."""
    entry = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("key", "value", "timestamp", "step", "model_id", "part_number", "etag"), scalars)
    )
    if name in {"tags", "params", "metrics", "models", "datasets", "order_by", "parts"}:
        return st.one_of(anything, st.lists(entry, max_size=3), st.lists(texts, max_size=3))
    return st.one_of(anything, texts)


def flat(value: Any) -> Any:
    """As a query has it."""
    return [str(one) for one in value] if isinstance(value, list) else value


def httpx_safe(part: str) -> str:
    """A part of a path: whatever it is, encoded."""
    return "".join(f"%{byte:02x}" for byte in part.encode("utf-8", "surrogatepass")) or "x"
