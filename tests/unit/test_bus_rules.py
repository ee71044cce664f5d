"""The pure parts of the bus: who gets which partition, where a key goes, what an event looks like on the bus."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as murmur2_of_kafka
from typing_extensions import override

from headrace_kit.bus import BusUnavailable, Partition, Received, Record
from headrace_kit.bus.balance import balance
from headrace_kit.bus.cloudevents import CloudEvent, MalformedEvent, from_received
from headrace_kit.bus.handover import Handover
from headrace_kit.bus.partitioning import murmur2, partition_of
from headrace_kit.worker import Worker

MEMBERS = [UUID(int=n) for n in range(1, 7)]
TOPICS = ["a", "b", "c"]
members = st.dictionaries(st.sampled_from(MEMBERS), st.frozensets(st.sampled_from(TOPICS), min_size=1))
owners = st.dictionaries(
    st.builds(Partition, st.sampled_from(TOPICS), st.integers(0, 5)), st.none() | st.sampled_from(MEMBERS)
)


@given(members, owners)
def test_every_partition_that_somebody_reads_has_one_owner_who_reads_it(
    members: dict[UUID, frozenset[str]], owners: dict[Partition, UUID | None]
) -> None:
    target = balance(members, owners)
    read = frozenset[str]().union(*members.values())
    assert target.keys() == {p for p in owners if p.topic in read}
    assert all(p.topic in members[owner] for p, owner in target.items())


@given(st.sets(st.sampled_from(MEMBERS), min_size=1), owners)
def test_members_that_read_the_same_get_the_same(alive: set[UUID], owners: dict[Partition, UUID | None]) -> None:
    target = balance(dict.fromkeys(alive, frozenset(TOPICS)), owners)
    load = Counter(target.values())
    assert max((load[m] for m in alive), default=0) - min((load[m] for m in alive), default=0) <= 1
    kept = sum(owners[p] == owner for p, owner in target.items())
    mine = Counter(owner for owner in owners.values() if owner in alive)
    quotient, more = divmod(len(owners), len(alive))
    most_kept = sum(min(n, quotient) for n in mine.values()) + min(more, sum(n > quotient for n in mine.values()))
    assert kept == most_kept


@given(members, owners)
def test_what_is_balanced_stays(members: dict[UUID, frozenset[str]], owners: dict[Partition, UUID | None]) -> None:
    target = balance(members, owners)
    assert balance(members, target) == target


@given(members, owners, st.data())
def test_members_that_act_one_by_one_come_to_agree(
    members: dict[UUID, frozenset[str]], owners: dict[Partition, UUID | None], data: st.DataObject
) -> None:
    """Each gives up what is another's and takes what is free, when its turn comes; nobody takes what is owned."""
    now = {p: owner if owner in members else None for p, owner in owners.items()}
    for _ in range(3):
        for me in data.draw(st.permutations(sorted(members))):
            target = balance(members, now)
            for p, owner in now.items():
                if owner == me and target.get(p) != me:
                    now[p] = None
                elif owner is None and target.get(p) == me:
                    now[p] = me
    assert {p: owner for p, owner in now.items() if owner is not None} == balance(members, now)


@given(st.binary(max_size=40))
def test_keys_are_hashed_as_kafka_does(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_kafka(key)
    assert partition_of(key, 7) == (murmur2_of_kafka(key) & 0x7FFFFFFF) % 7


@pytest.mark.parametrize(
    ("key", "hashed"), [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)]
)
def test_hashes_that_other_clients_of_kafka_agree_on(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed % (1 << 32)


EVENT = CloudEvent(
    id="a3f1",
    type="headrace.api.registry.v1.ModelCreated",
    source="/headrace/registry",
    subject="tenants/default/models/cookies",
    time=datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
    tenant_id="default",
    data=b"\x00\xff",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def received(record: Record, **changed: bytes | None) -> Received:
    headers = {name: value for name, value in {**record.headers, **changed}.items() if value is not None}
    return Received(Partition(record.topic, 3), 17, record.key, record.value, headers, 0)


def test_an_event_as_a_record() -> None:
    record = EVENT.to_record("topic", "key")
    assert (record.topic, record.key, record.value) == ("topic", b"key", b"\x00\xff")
    assert record.headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"a3f1",
        "ce_type": b"headrace.api.registry.v1.ModelCreated",
        "ce_source": b"/headrace/registry",
        "ce_subject": b"tenants/default/models/cookies",
        "ce_time": b"2026-01-02T03:04:05.000678Z",
        "ce_partitionkey": b"key",
        "content-type": b"application/protobuf",
        "tenant": b"default",
        "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


texts = st.text(max_size=20)
events = st.builds(
    CloudEvent,
    id=texts,
    type=texts,
    source=texts,
    subject=texts,
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))])),
    tenant_id=texts,
    data=st.binary(max_size=20),
    traceparent=st.just("") | texts,
)


@given(events)
def test_an_event_comes_back_as_it_went(event: CloudEvent) -> None:
    try:
        record = event.to_record("topic", "key")
    except OverflowError:  # the first day of year 1 and the last of 9999 have no UTC everywhere
        return
    assert from_received(received(record)) == event


@pytest.mark.parametrize(
    ("header", "value", "told"),
    [
        ("ce_id", None, "topic/3, offset 17: header ce_id is missing"),
        ("tenant", None, "header tenant is missing"),
        ("ce_specversion", b"0.3", "header ce_specversion must be '1.0', got '0.3'"),
        ("content-type", b"application/json", "header content-type must be 'application/protobuf'"),
        ("ce_time", b"yesterday", "header ce_time must be a time after RFC 3339, got 'yesterday'"),
        ("ce_time", b"2026-01-02T03:04:05", "header ce_time must have a UTC offset"),
        ("ce_subject", b"\xff", "a header is not UTF-8"),
    ],
)
def test_what_is_no_event_is_told(header: str, value: bytes | None, told: str) -> None:
    record = received(EVENT.to_record("topic", "key"), **{header: value})
    with pytest.raises(MalformedEvent, match=told):
        from_received(record)


def test_a_handover_keeps_the_order_and_fails_what_is_left() -> None:
    handover = Handover(60)
    futures = [handover.publish(Record("t", b"", bytes(1 << 20))) for _ in range(20)]
    first = handover.take(0)
    assert 4 <= len(first) <= 8
    assert [p.future for p in first] == futures[: len(first)]
    for number, pending in enumerate(first):
        pending.succeed((Partition("t", 0), number))
    assert not handover.flush(0)
    handover.close()
    assert handover.flush(0)
    assert all(isinstance(f.exception(), BusUnavailable) for f in futures[len(first) :])
    assert isinstance(handover.publish(Record("t", b"", b"")).exception(), BusUnavailable)


def test_a_future_of_a_producer_is_not_cancelled_by_who_stops_waiting() -> None:
    handover = Handover(60)
    future = handover.publish(Record("t", b"", b""))
    assert not future.cancel()
    (pending,) = handover.take(0)
    pending.succeed((Partition("t", 0), 0))
    pending.fail(BusUnavailable("late"))
    assert future.result(0) == (Partition("t", 0), 0)


class _Loop(Worker):
    def __init__(self, deaths: list[BaseException], error: BaseException | None = None, *, early: bool = False) -> None:
        super().__init__("loop", deaths.append)
        self.error = error
        self.early = early

    @override
    def run(self, stopping: threading.Event) -> None:
        if self.error is not None:
            raise self.error
        if not self.early:
            stopping.wait()


def test_a_worker_stops_when_asked() -> None:
    deaths: list[BaseException] = []
    worker = _Loop(deaths)
    assert worker.join(0)
    worker.start()
    assert not worker.join(0.05)
    worker.close()
    assert worker.join(5)
    assert not deaths


@pytest.mark.parametrize(("error", "early"), [(ValueError("no"), False), (SystemExit(1), False), (None, True)])
def test_the_death_of_a_worker_is_told(error: BaseException | None, early: bool) -> None:
    deaths: list[BaseException] = []
    worker = _Loop(deaths, error, early=early)
    worker.start()
    assert worker.join(5)
    assert len(deaths) == 1
    assert deaths[0] is error or "without being asked" in str(deaths[0])
