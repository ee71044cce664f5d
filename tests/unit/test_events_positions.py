"""Cursors, and the room of a subscription that goes along."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.common.v1 import error_reason_pb2
from headrace_events import positions
from headrace_events.hub import Hub
from headrace_events.selection import Selection, selection
from headrace_kit.bus import Partition, Received
from headrace_kit.errors import DomainError, InvalidField

TOPICS = frozenset({"a.v1", "b.v1"})
PLACES = st.dictionaries(
    st.builds(Partition, st.sampled_from(sorted(TOPICS)), st.integers(0, 5)), st.integers(0, 2**63 - 1)
)
EVERYTHING = Selection(b"t", frozenset(), b"")


@given(PLACES)
def test_cursor_leads_back_to_its_place(place: dict[Partition, int]) -> None:
    found = positions.decode(positions.encode(place), TOPICS)
    assert positions.gap(found, place) == positions.gap(place, found) == 0


@given(PLACES, PLACES)
def test_gap_is_what_is_missing(here: dict[Partition, int], there: dict[Partition, int]) -> None:
    reached = {partition: max(here.get(partition, 0), offset) for partition, offset in there.items()}
    assert positions.gap({**here, **reached}, there) == 0
    assert (positions.gap(here, there) == 0) == all(here.get(p, 0) >= offset for p, offset in there.items())


def test_topic_that_is_no_more_is_left_out_of_a_cursor() -> None:
    cursor = positions.encode({Partition("old.v1", 0): 7, Partition("a.v1", 1): 3})
    assert positions.decode(cursor, TOPICS) == {Partition("a.v1", 1): 3}


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_no_text_makes_decode_raise_anything_else(text: str) -> None:
    with suppress(InvalidField):
        positions.decode(text, TOPICS)


@pytest.mark.parametrize(
    "raw", ["[1,{}", "[2,{}]", '[1,{"a.v1":{"0":-1}}]', '[1,{"a.v1":{"x":1}}]', "[1,[]]", "{}", "7"]
)
def test_cursor_of_other_making_is_refused(raw: str) -> None:
    with pytest.raises(InvalidField):
        positions.decode(base64.urlsafe_b64encode(raw.encode()).decode(), TOPICS)


def received(offset: int, *, tenant: str = "t", subject: str = "tenants/t/models/m", size: int = 1) -> Received:
    headers = {
        "ce_specversion": "1.0",
        "content-type": "application/protobuf",
        "ce_id": f"id-{offset}",
        "ce_type": "headrace.api.registry.v1.ModelDeleted",
        "ce_source": "/headrace/registry",
        "ce_subject": subject,
        "ce_time": "2026-05-04T03:02:01Z",
        "tenant": tenant,
    }
    encoded = {name: value.encode() for name, value in headers.items()}
    return Received(Partition("a.v1", 0), offset, b"", b"x" * size, encoded, 0)


async def test_subscription_takes_what_is_its_tenants_and_no_more_than_it_has_room_for() -> None:
    hub = Hub(most_waiting=3)
    hub.start({Partition("a.v1", 0): 10})
    with hub.join(EVERYTHING) as live:
        hub.publish([received(10, tenant="other"), received(11), received(12)])
        first = await live.next(1)
        assert first is not None
        assert first.event.id == "id-11"
        assert positions.decode(first.cursor, TOPICS) == {Partition("a.v1", 0): 12}
        hub.publish([received(13), received(14)])
        hub.publish([received(15)])
        with pytest.raises(DomainError) as ended:
            await live.next(1)
        assert ended.value.reason == error_reason_pb2.ERROR_REASON_OVERLOADED
    assert hub.subscriptions == 0


async def test_large_events_take_more_room() -> None:
    hub = Hub()
    hub.start({})
    with hub.join(EVERYTHING) as live:
        hub.publish([received(number, size=1 << 20) for number in range(17)])
        with pytest.raises(DomainError):
            await live.next(1)


async def test_record_that_is_no_event_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub()
    hub.start({})
    strange = Received(Partition("a.v1", 0), 0, b"", b"", {"tenant": b"t"}, 0)
    with hub.join(EVERYTHING) as live:
        hub.publish([strange, received(1)])
        found = await live.next(1)
        assert found is not None
        assert found.event.id == "id-1"
        assert await live.next(0.01) is None
    assert "left out" in caplog.text


def test_selection_sees_its_own_tenant_only() -> None:
    mine = selection("t", [], "tenants/t/models/m")
    assert mine.takes(received(1))
    assert not mine.takes(received(1, tenant="tt"))
    assert not mine.takes(received(1, subject="tenants/t/models/n"))
    assert selection("t", [], "tenants/").subject_prefix == b"tenants/"
    with pytest.raises(InvalidField):
        selection("t", [], "tenants/tt/")
