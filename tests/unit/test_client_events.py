"""Subscriptions that go on by themselves."""

import threading
from collections.abc import Iterator

import pytest

import headrace as hr
from fake_answers import away
from fake_headrace import FakeHeadrace, serving
from headrace import errors, retry
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.events.v1 import event_service_pb2
from headrace.api.registry.v1 import registry_events_pb2, registry_pb2
from headrace_kit.errors import DomainError, InvalidField

PROMOTED = "headrace.api.registry.v1.ModelVersionPromoted"


@pytest.fixture
def fake() -> Iterator[FakeHeadrace]:
    with serving() as made:
        yield made


@pytest.fixture
def client(fake: FakeHeadrace) -> Iterator[hr.Client]:
    policy = retry.Policy(first_delay_s=0.01, most_delay_s=0.05, patience_s=5.0, first_patience_s=0.5)
    with hr.Client(fake.uri, policy=policy) as made:
        yield made


def promoted(version: int, kind: str = PROMOTED) -> event_service_pb2.Event:
    message = registry_events_pb2.ModelVersionPromoted(version=registry_pb2.ModelVersion(version=version))
    event = event_service_pb2.Event(
        id=f"e{version}", type=kind, subject=f"v/{version}", data=message.SerializeToString()
    )
    event.time.FromSeconds(1_700_000_000 + version)
    return event


def versions(events: Iterator[hr.Event], count: int) -> list[int]:
    return [next(events).message.version.version for _ in range(count)]


def test_events_come_decoded_once_the_subscription_stands(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.events.publish(promoted(1))
    with client.events.subscribe([PROMOTED], timeout=10) as events:
        fake.events.publish(promoted(2), promoted(3))
        event = next(events)
        assert (event.type, event.id, event.subject, event.cursor) == (PROMOTED, "e2", "v/2", "2")
        assert isinstance(event.message, registry_events_pb2.ModelVersionPromoted)
        assert event.time.timestamp() == 1_700_000_002
        assert versions(events, 1) == [3]
    with pytest.raises(StopIteration):
        next(events)


def test_the_beginning_and_a_cursor(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.events.publish(*(promoted(number) for number in range(4)))
    with client.events.subscribe(from_="earliest", timeout=10) as events:
        assert versions(events, 2) == [0, 1]
    with client.events.subscribe(cursor="3", timeout=10) as events:
        assert versions(events, 1) == [3]


def test_it_goes_on_behind_the_last_event_after_a_cut(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.events.cut_after = [0, 2, 0, 1]
    fake.events.publish(*(promoted(number) for number in range(10)))
    with client.events.subscribe(from_="earliest", timeout=10) as events:
        assert versions(events, 10) == list(range(10))
    assert [request.cursor for request in fake.events.requests][-1] == "3"


def test_the_server_may_restart(fake: FakeHeadrace, client: hr.Client) -> None:
    with client.events.subscribe(timeout=20) as events:
        fake.events.publish(promoted(1))
        assert versions(events, 1) == [1]
        fake.stop()
        fake.events.publish(promoted(2))
        fake.start()
        assert versions(events, 1) == [2]


def test_waiting_has_limits(fake: FakeHeadrace, client: hr.Client) -> None:
    with client.events.subscribe(timeout=0.1) as events:
        with pytest.raises(TimeoutError, match=r"no event within 0\.1 s"):
            next(events)
        with pytest.raises(errors.TimedOut, match=r"no event within 0\.2 s"):
            events.next(timeout=0.2)
        assert list(events.within(seconds=0.1)) == []
        fake.events.publish(promoted(1), promoted(2))
        assert [event.message.version.version for event in events.within(seconds=0.5)] == [1, 2]


def test_types_by_any_name(fake: FakeHeadrace, client: hr.Client) -> None:
    names: list[object] = ["ModelVersionPromoted", PROMOTED, registry_events_pb2.ModelVersionPromoted]
    for kind in names:
        client.events.subscribe([kind]).close()  # type: ignore[list-item] # one kind after the other
    client.events.subscribe("ModelVersionPromoted").close()
    assert [list(request.types) for request in fake.events.requests] == [[PROMOTED]] * 4
    with pytest.raises(errors.InvalidRequest, match="types: no event is called 'Promoted'; there are ArtifactDeleted,"):
        client.events.subscribe("Promoted")


def test_an_event_of_a_later_version_is_passed_on_undecoded(fake: FakeHeadrace, client: hr.Client) -> None:
    with client.events.subscribe(timeout=10) as events:
        fake.events.publish(promoted(1, "headrace.api.baking.v9.CookieBaked"))
        event = next(events)
        assert (event.message, event.type) == (None, "headrace.api.baking.v9.CookieBaked")
        assert event.data


def test_a_subscription_that_cannot_stand_is_told_at_once(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.events.answer = InvalidField("cursor", "was not issued here")
    with pytest.raises(errors.InvalidRequest, match="cursor: was not issued here"):
        client.events.subscribe(cursor="x")
    fake.events.answer = away("still starting")
    fresh = hr.Client(fake.uri, policy=retry.Policy(patience_s=0.2, first_patience_s=0.2))
    with pytest.raises(errors.Unavailable, match="still starting"):
        fresh.events.subscribe()
    fresh.close()
    with pytest.raises(errors.Unavailable, match="no Headrace answers"):
        hr.Client("grpc://127.0.0.1:1", policy=retry.Policy(first_patience_s=0.1)).events.subscribe()


def test_a_subscription_that_the_server_ends_for_good_raises(fake: FakeHeadrace, client: hr.Client) -> None:
    fake.events.cut_after = [1]
    with client.events.subscribe(timeout=10) as events:
        fake.events.answer = DomainError(error_reason_pb2.ERROR_REASON_TOKEN_INVALID, "the token was revoked")
        fake.events.publish(promoted(1))
        assert versions(events, 1) == [1]
        with pytest.raises(errors.Unauthenticated, match="revoked"):
            next(events)
        with pytest.raises(StopIteration):
            next(events)


def test_close_ends_a_wait_in_another_thread(client: hr.Client) -> None:
    events = client.events.subscribe()
    threading.Timer(0.2, events.close).start()
    assert list(events) == []
