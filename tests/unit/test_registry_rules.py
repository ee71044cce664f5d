"""What the registry allows; no database needed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace_kit.errors import DomainError, InvalidField
from headrace_registry import messages, rules
from headrace_registry.store import ModelRow

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
ROW = ModelRow("t", "wine", "", {"a": "1"}, NOW, NOW, {}, 0)


@given(st.text(max_size=300))
def test_alias_that_is_taken_can_be_told_from_a_number_and_from_latest(text: str) -> None:
    try:
        rules.alias("alias", text)
    except InvalidField:
        return
    assert 1 <= len(text) <= 255
    assert text.lower() != "latest"
    assert not (text[0] in "vV" and text[1:].isdecimal())
    assert all(c.isalnum() or c in "_-" for c in text)


@pytest.mark.parametrize("text", ["production", "v", "v1a", "latest2", "1", "-", "ü", "x" * 255])
def test_alias_may_be(text: str) -> None:
    assert rules.alias("alias", text) == text


def test_change_is_never_earlier_than_the_one_before() -> None:
    earlier = NOW - timedelta(seconds=5)
    assert rules.described(ROW, "x", earlier).update_time == NOW
    assert rules.with_tags(ROW, {"b": "2"}, NOW + timedelta(seconds=1)).update_time > NOW


def test_what_changes_nothing_is_the_same_row() -> None:
    assert rules.described(ROW, "", NOW) is ROW
    assert rules.with_tags(ROW, {"a": "1"}, NOW) is ROW
    with pytest.raises(DomainError):
        rules.without_tag(ROW, "b", NOW)


def test_tags_together_have_a_limit() -> None:
    half = {"k": "ü" * 90_000}
    rules.with_tags(ROW, half, NOW)
    with pytest.raises(InvalidField, match=r"tags: would take 540,\d{3} bytes together; at most 491,520 are kept"):
        rules.with_tags(ROW, half | {"l": "ü" * 90_000, "m": "ü" * 90_000}, NOW)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), st.text(max_size=5))
def test_etag_tells_what_differs_and_nothing_else(tags: dict[str, str], description: str) -> None:
    one = messages.model(ModelRow("t", "wine", description, tags, NOW, NOW, {}, 0))
    turned = messages.model(ModelRow("t", "wine", description, dict(reversed(tags.items())), NOW, NOW, {}, 0))
    other = messages.model(ModelRow("t", "wine", description, tags, NOW, NOW, {"production": 1}, 0))
    assert one.etag == turned.etag != other.etag


def test_digest_of_a_request_leaves_out_its_id() -> None:
    one = pb.CreateModelVersionRequest(model_name="wine", request_id="1")
    two = pb.CreateModelVersionRequest(model_name="wine", request_id="2")
    assert rules.request_digest(one) == rules.request_digest(two)
    assert one.request_id == "1"


def test_page_ends_before_it_is_too_large() -> None:
    heavy = [pb.CreateModelRequest(description="x" * (1 << 20)) for _ in range(9)]
    assert rules.page_length(heavy, 9) == 3
    assert rules.page_length(heavy, 2) == 2
    assert rules.page_length([pb.CreateModelRequest(description="x" * (5 << 20))] * 2, 9) == 1
    assert rules.page_length([], 9) == 0
