"""Webhooks; each sentence against Headrace and MLflow itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from fix_mlflow import Rest, unique
from fix_webhooks import Receiver, receiving, status

EVENTS = [{"entity": "MODEL_VERSION", "action": "CREATED"}, {"entity": "MODEL_VERSION_TAG", "action": "SET"}]
ALL = [
    *EVENTS,
    {"entity": "MODEL_VERSION_TAG", "action": "DELETED"},
    {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"},
    {"entity": "MODEL_VERSION_ALIAS", "action": "DELETED"},
    {"entity": "REGISTERED_MODEL", "action": "CREATED"},
]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def make(rest: Rest, url: str, events: Any = EVENTS, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = rest.post("webhooks", **{"name": "hook", "url": url, "events": events, **fields})
    return dict(body["webhook"])


def refusal(rest: Rest, verb: str, route: str, **fields: Any) -> tuple[int, str]:
    answer = rest.call(verb, route, **fields)
    return answer.status, answer.code


def test_a_webhook_is_made_shown_changed_and_deleted(rest: Rest, receiver: Receiver) -> None:
    made = make(rest, receiver.url(), description="d", secret="s")
    webhook_id = made["webhook_id"]
    times = made.pop("creation_timestamp"), made.pop("last_updated_timestamp")
    assert times[0] == times[1]
    assert isinstance(times[0], int)
    assert made == {
        "webhook_id": webhook_id,
        "name": "hook",
        "description": "d",
        "url": receiver.url(),
        "events": EVENTS,
        "status": "ACTIVE",
    }
    assert rest.get(f"webhooks/{webhook_id}")["webhook"].items() >= made.items()
    changed = rest.other("PATCH", f"webhooks/{webhook_id}", name="other", description="", status="DISABLED")["webhook"]
    assert (changed["name"], changed["status"], "description" in changed) == ("other", "DISABLED", False)
    assert changed["last_updated_timestamp"] >= times[1]
    same = rest.other("PATCH", f"webhooks/{webhook_id}", name="", events=[], url="")["webhook"]
    assert (same["name"], same["events"], same["url"]) == ("other", EVENTS, receiver.url())
    assert rest.other("DELETE", f"webhooks/{webhook_id}") == {}
    for verb, route in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test")):
        gone = rest.call(verb, f"webhooks/{webhook_id}{route}")
        assert (gone.status, gone.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert gone.message == f"Webhook with ID {webhook_id} not found."


def test_events_are_in_order_and_may_be_numbers(rest: Rest, receiver: Receiver) -> None:
    made = make(rest, receiver.url(), [{"entity": 5, "action": 1}, {"entity": "BUDGET_POLICY", "action": "EXCEEDED"}])
    assert made["events"] == [
        {"entity": "BUDGET_POLICY", "action": "EXCEEDED"},
        {"entity": "PROMPT", "action": "CREATED"},
    ]
    assert make(rest, receiver.url(), status=2)["status"] == "DISABLED"


def test_what_is_missing(rest: Rest, receiver: Receiver) -> None:
    whole: dict[str, Any] = {"name": "hook", "url": receiver.url(), "events": EVENTS}
    for field in whole:
        lacking = {name: value for name, value in whole.items() if name != field}
        answer = rest.call("POST", "webhooks", **lacking)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert answer.message.startswith(f"Missing value for required parameter '{field}'.")
    assert refusal(rest, "POST", "webhooks", **{**whole, "events": []}) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("name", ["-a", "a-", "a" * 64, "a b", "a/b", "é"])
def test_names_that_cannot_be(rest: Rest, receiver: Receiver, name: str) -> None:
    made = make(rest, receiver.url(), name="a" * 63)
    invalid = (400, "INVALID_PARAMETER_VALUE")
    assert refusal(rest, "POST", "webhooks", name=name, url=receiver.url(), events=EVENTS) == invalid
    assert refusal(rest, "PATCH", f"webhooks/{made['webhook_id']}", name=name) == invalid


@pytest.mark.parametrize("url", ["ftp://receiver.test/", "https://", "receiver.test", " ", "https://[::1/"])
def test_addresses_that_cannot_be(rest: Rest, receiver: Receiver, url: str) -> None:
    made = make(rest, receiver.url())
    invalid = (400, "INVALID_PARAMETER_VALUE")
    assert refusal(rest, "POST", "webhooks", name="hook", url=url, events=EVENTS) == invalid
    assert refusal(rest, "PATCH", f"webhooks/{made['webhook_id']}", url=url) == invalid


def test_events_that_cannot_be(rest: Rest, receiver: Receiver) -> None:
    wrong = [{"entity": "MODEL_VERSION", "action": "SET"}]
    invalid = (400, "INVALID_PARAMETER_VALUE")
    assert refusal(rest, "POST", "webhooks", name="hook", url=receiver.url(), events=wrong) == invalid
    made = make(rest, receiver.url())
    assert refusal(rest, "PATCH", f"webhooks/{made['webhook_id']}", events=wrong) == invalid
    assert refusal(rest, "POST", f"webhooks/{made['webhook_id']}/test", event=wrong[0]) == invalid
    unknown = rest.call("POST", "webhooks", name="hook", url=receiver.url(), events=[{"entity": "X", "action": "SET"}])
    assert unknown.status == (400 if rest.name == "headrace" else 500)


def test_pages(rest: Rest, receiver: Receiver) -> None:
    ids = [make(rest, receiver.url())["webhook_id"] for _ in range(3)]
    first = rest.get("webhooks", max_results=2)
    second = rest.get("webhooks", max_results=1, page_token=first["next_page_token"])
    assert [one["webhook_id"] for one in (*first["webhooks"], *second["webhooks"])] == ids[::-1]
    assert len(rest.get("webhooks", max_results=0)["webhooks"]) >= 3
    for most in (-1, 1001):
        refused = rest.call("GET", "webhooks", max_results=most)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
        assert refused.message == "max_results must be between 1 and 1000."
    assert refusal(rest, "GET", "webhooks", page_token="nonsense") == (400, "INVALID_PARAMETER_VALUE")


def test_a_test_answers_what_the_receiver_said(rest: Rest, receiver: Receiver) -> None:
    webhook_id = make(rest, receiver.url("/hook?a=b"), secret="s3cret", status="DISABLED")["webhook_id"]
    well = {"success": True, "response_status": 200, "response_body": "thanks"}
    assert rest.post(f"webhooks/{webhook_id}/test") == {"result": well}
    assert rest.post(f"webhooks/{webhook_id}/test", event=ALL[3]) == {"result": well}
    receiver.answers.append(status(404, b"who?"))
    badly = rest.post(f"webhooks/{webhook_id}/test")["result"]
    assert (badly["success"], badly["response_status"], badly["response_body"]) == (False, 404, "who?")
    assert [one.event for one in receiver.received] == [
        "model_version.created",
        "model_version_alias.created",
        "model_version.created",
    ]
    assert all(one.path == "/hook?a=b" and one.is_signed_with("s3cret") for one in receiver.received)
    version = receiver.received[0].told
    assert version.keys() - {"workspace"} == {"entity", "action", "timestamp", "data"}  # told by servers that have any
    assert version["data"].keys() == {"name", "version", "source", "run_id", "tags", "description"}


def test_a_test_that_nobody_answers(rest: Rest) -> None:
    with receiving() as receiver:
        webhook_id = make(rest, receiver.url())["webhook_id"]
    result = rest.post(f"webhooks/{webhook_id}/test")["result"]
    assert result["success"] is False
    assert result["error_message"]
    assert "response_status" not in result


def test_what_a_receiver_is_told(rest: Rest, receiver: Receiver) -> None:
    webhook_id = make(rest, receiver.url(), ALL, secret="s3cret")["webhook_id"]
    name = unique("model")
    tags = [{"key": "k", "value": "v"}]
    rest.post("registered-models/create", name=name, tags=tags)
    rest.version(name, tags=tags, description="first", run_id="")
    rest.post("model-versions/set-tag", name=name, version="1", key="a", value="b")
    rest.other("DELETE", "model-versions/delete-tag", name=name, version="1", key="a")
    rest.post("registered-models/alias", name=name, alias="best", version="1")
    rest.other("DELETE", "registered-models/alias", name=name, alias="best")
    rest.post("model-versions/transition-stage", name=name, version="1", stage="Staging")
    rest.other("PATCH", "registered-models/update", name=name, description="other")
    rest.post("registered-models/set-tag", name=name, key="a", value="b")
    rest.post("registered-models/alias", name=name, alias="last", version="1")
    rest.post("registered-models/rename", name=name, new_name=f"{name}-2")
    rest.other("DELETE", "model-versions/delete", name=f"{name}-2", version="1")
    rest.other("DELETE", "registered-models/delete", name=f"{name}-2")
    rest.post("registered-models/create", name=f"{name}-end")
    receiver.wait(8)
    told = sorted(((one.event, one.told["data"]) for one in receiver.received), key=str)
    of = {"name": name, "version": "1"}
    version = {"source": "s3://elsewhere/model", "run_id": None, "tags": {"k": "v"}, "description": "first"}
    assert told == sorted(
        [
            ("model_version.created", {**of, **version}),
            ("model_version_alias.created", {**of, "alias": "best"}),
            ("model_version_alias.created", {**of, "alias": "last"}),
            ("model_version_alias.deleted", {"name": name, "alias": "best"}),
            ("model_version_tag.deleted", {**of, "key": "a"}),
            ("model_version_tag.set", {**of, "key": "a", "value": "b"}),
            ("registered_model.created", {"name": name, "tags": {"k": "v"}, "description": ""}),
            ("registered_model.created", {"name": f"{name}-end", "tags": {}, "description": ""}),
        ],
        key=str,
    )
    assert all(one.is_signed_with("s3cret") for one in receiver.received)
    rest.other("PATCH", f"webhooks/{webhook_id}", status="DISABLED")
    rest.post("registered-models/create", name=f"{name}-asleep")
    rest.other("PATCH", f"webhooks/{webhook_id}", status="ACTIVE")
    rest.post("registered-models/create", name=f"{name}-awake")
    assert receiver.wait(9)[-1].told["data"]["name"] == f"{name}-awake"
