"""Searching for runs; each sentence against Headrace and MLflow itself."""

from dataclasses import dataclass

import pytest

from fix_mlflow import Name, Rest

NAN = "NaN"


@dataclass(frozen=True)
class Bakery:
    """Four runs of one experiment, called a to d; d has no metric and no param."""

    rest: Rest
    experiment_id: str
    ids: dict[str, str]

    def found(self, text: str = "", order_by: tuple[str, ...] = ("attributes.run_name ASC",), **fields: object) -> str:
        """The names of the runs found, one after the other."""
        body = self.rest.post(
            "runs/search", experiment_ids=[self.experiment_id], filter=text, order_by=list(order_by), **fields
        )
        return "".join(run["info"]["run_name"] for run in body.get("runs", []))


@pytest.fixture(scope="module")
def bakeries(servers: dict[Name, Rest]) -> dict[Name, Bakery]:
    return {name: bakery(rest) for name, rest in servers.items()}


def bakery(rest: Rest) -> Bakery:
    experiment_id = rest.experiment()
    ids = {}
    for number, name in enumerate("abcd"):
        ids[name] = run_id = rest.run(experiment_id, run_name=name, start_time=1000 + number, user_id=f"user-{name}")
        rest.post("runs/set-tag", run_id=run_id, key="kind", value="Sweet" if name in "ab" else "salty")
        if name == "d":
            continue
        value: float | str = {"a": 0.5, "b": 1.5, "c": NAN}[name]
        rest.post("runs/log-metric", run_id=run_id, key="loss", value=value, timestamp=1)
        rest.post("runs/log-parameter", run_id=run_id, key="sugar per cent", value=f"{number}0")
    rest.post("runs/update", run_id=ids["a"], status="FINISHED", end_time=5000)
    flour = {"name": "flour", "digest": "d1", "source_type": "local", "source": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    rest.post("runs/log-inputs", run_id=ids["b"], datasets=[{"dataset": flour, "tags": tags}])
    return Bakery(rest, experiment_id, ids)


@pytest.fixture
def runs(rest: Rest, bakeries: dict[Name, Bakery]) -> Bakery:
    return bakeries[rest.name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "abcd"),
        ("metrics.loss > 0.5", "b"),
        ("metrics.loss >= 0.5", "ab"),
        ("metrics.loss = 1.5", "b"),
        ("metrics.loss != 0.5", "bc"),
        ("metric.loss < 1", "a"),
        ("metrics.`loss` <= 0.5", "a"),
        ('metrics."loss" <= 0.5', "a"),
        ("params.`sugar per cent` = '10'", "b"),
        ("parameters.`sugar per cent` != '10'", "ac"),
        ("param.`sugar per cent` LIKE '%0'", "abc"),
        ("tags.kind = 'Sweet'", "ab"),
        ("tag.kind LIKE 'sw%'", ""),
        ("tags.kind ILIKE 'sw%'", "ab"),
        ("tags.nothing IS NULL AND tags.kind IS NOT NULL", "abcd"),
        ("tags.nothing != 'x'", ""),
        ("params.`sugar per cent` IS NULL", "d"),
        ("attributes.status = 'FINISHED'", "a"),
        ("status != 'FINISHED'", "bcd"),
        ("attributes.start_time > 1001", "cd"),
        ("attribute.start_time <= 1001", "ab"),
        ("attr.created = 1002", "c"),
        ("end_time = 5000", "a"),
        ("attributes.user_id = 'user-c'", "c"),
        ("run.run_name = 'b'", "b"),
        ("run_name LIKE '%'", "abcd"),
        ("attributes.`run name` = 'b'", "b"),
        ("datasets.name = 'flour'", "b"),
        ("dataset.digest LIKE 'd%' AND datasets.context = 'training'", "b"),
        ("datasets.name IN ('flour', 'sugar')", "b"),
        ("metrics.loss > 0.1 AND params.`sugar per cent` = '00'", "a"),
        ("metrics.loss > 0.1 and tags.kind = 'Sweet'", "ab"),
    ],
)
def test_filters(runs: Bakery, text: str, expected: str) -> None:
    assert runs.found(text) == expected


def test_ids(runs: Bakery) -> None:
    two = f"'{runs.ids['a']}', '{runs.ids['c']}'"
    assert runs.found(f"attributes.run_id IN ({two})") == "ac"
    assert runs.found(f"attributes.run_id NOT IN ({two})") == "bd"
    assert runs.found(f"run_id = '{runs.ids['b']}'") == "b"


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss > 'a'",
        "params.sugar > '1'",
        "metrics.loss LIKE 'a'",
        "nothing.a = 'b'",
        "attributes.nothing = 'a'",
        "metrics.loss >",
        "tags.kind = Sweet",
        "params.x = 5",
        "run_name IN ('a')",
        "datasets.nothing = 'a'",
    ],
)
def test_filters_that_mean_nothing(runs: Bakery, text: str) -> None:
    if text == "run_name IN ('a')" and runs.rest.name == "headrace":
        assert runs.found(text) == "a"  # Headrace has IN for every text
        return
    body = runs.rest.call("POST", "runs/search", experiment_ids=[runs.experiment_id], filter=text)
    assert (body.status, body.code) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tags.kind = 'Sweet' OR attributes.run_name = 'd'", "abd"),
        ("NOT tags.kind = 'Sweet'", "cd"),
        ("(tags.kind = 'Sweet')", "ab"),
    ],
)
def test_headrace_has_more_of_a_grammar(runs: Bakery, text: str, expected: str) -> None:
    if runs.rest.name == "headrace":
        assert runs.found(text) == expected
        return
    refused = runs.rest.call("POST", "runs/search", experiment_ids=[runs.experiment_id], filter=text)
    assert refused.status == 400


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((), "dcba"),
        (("metrics.loss ASC", "run_name"), "abcd"),
        (("metrics.loss DESC",), "bacd"),
        (("metrics.loss",), "abcd"),
        (("params.`sugar per cent` DESC", "run_name"), "cbad"),
        (("tags.kind ASC", "run_name DESC"), "badc"),
        (("attributes.start_time ASC",), "abcd"),
        (("start_time DESC",), "dcba"),
        (("end_time", "run_name"), "abcd"),
    ],
)
def test_orders(runs: Bakery, order: tuple[str, ...], expected: str) -> None:
    assert runs.found(order_by=order) == expected


def test_an_order_that_means_nothing(runs: Bakery) -> None:
    for order in ("metrics.loss sideways", "nothing"):
        refused = runs.rest.call("POST", "runs/search", experiment_ids=[runs.experiment_id], order_by=[order])
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_an_order_given_twice(runs: Bakery) -> None:
    refused = runs.rest.call(
        "POST", "runs/search", experiment_ids=[runs.experiment_id], order_by=["metrics.a", "metrics.a"]
    )
    assert refused.status == (400 if runs.rest.name == "headrace" else 500)


def test_pages(runs: Bakery) -> None:
    for order in ("metrics.loss ASC", "start_time DESC", "run_name ASC"):
        seen: list[str] = []
        token = ""
        while True:
            page = runs.rest.post(
                "runs/search", experiment_ids=[runs.experiment_id], order_by=[order], max_results=1, page_token=token
            )
            seen += [run["info"]["run_id"] for run in page.get("runs", [])]
            token = page.get("next_page_token", "")
            if not token:
                break
        assert sorted(seen) == sorted(runs.ids.values())
    refused = runs.rest.call("POST", "runs/search", experiment_ids=[runs.experiment_id], page_token="nonsense")
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_sizes_of_pages(runs: Bakery) -> None:
    refused = runs.rest.call("POST", "runs/search", experiment_ids=[runs.experiment_id], max_results=50_001)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_views(rest: Rest) -> None:
    experiment_id = rest.experiment()
    kept, dropped = rest.run(experiment_id), rest.run(experiment_id)
    rest.post("runs/delete", run_id=dropped)
    for view, expected in (("ACTIVE_ONLY", [kept]), ("DELETED_ONLY", [dropped]), ("ALL", [kept, dropped])):
        body = rest.post("runs/search", experiment_ids=[experiment_id], run_view_type=view)
        assert sorted(run["info"]["run_id"] for run in body["runs"]) == sorted(expected)
