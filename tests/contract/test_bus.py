"""What every bus does, in PostgreSQL and on a real Kafka; then what is special to each."""

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import psycopg
import pytest

from fix_bus import BUSES, WAIT, Place, Polling, collect, done, open_place, publish, quiet, until, values
from headrace_kit.bus import (
    MAX_RECORD_BYTES,
    Assignment,
    BusError,
    BusUnavailable,
    Partition,
    Producer,
    Received,
    Record,
    RecordTooLarge,
    UnknownTopic,
)
from headrace_kit.bus.kafka import KafkaBus, KafkaConfig
from headrace_kit.bus.kafka import producer as sending
from headrace_kit.bus.partitioning import partition_of
from headrace_kit.bus.postgres import PostgresBus
from headrace_kit.db import as_role, worker_role


@pytest.fixture(params=BUSES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with open_place(request.param, request) as place:
        yield place


@pytest.fixture
def producer(place: Place) -> Iterator[Producer]:
    with closing(place.bus.producer()) as producer:
        yield producer


def test_results_are_positions_and_records_keep_their_order_by_key(place: Place, producer: Producer) -> None:
    topic = place.topic(3)
    keys = [f"key {i % 20}" for i in range(500)]
    positions = publish(producer, topic, keys)
    with closing(place.bus.reader([topic], {})) as reader:
        found = collect(reader, 500)
    assert {(r.partition, r.offset): int(r.value) for r in found} == {p: i for i, p in enumerate(positions)}
    assert all(p.number == partition_of(k.encode(), 3) for k, (p, _) in zip(keys, positions, strict=True))
    by_partition: defaultdict[Partition, list[int]] = defaultdict(list)
    by_key: defaultdict[bytes, list[int]] = defaultdict(list)
    for record in found:
        by_partition[record.partition].append(record.offset)
        by_key[record.key].append(int(record.value))
    assert all(offsets == list(range(len(offsets))) for offsets in by_partition.values())
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert place.bus.end_offsets([topic]) == {p: len(offsets) for p, offsets in by_partition.items()}


def test_a_record_comes_back_as_it_went(place: Place, producer: Producer) -> None:
    topic = place.topic(2)
    headers = {"empty": b"", "bytes": bytes(range(256)), "ce_subject": "tenants/ü".encode()}
    before = time.time()
    position = producer.publish(Record(topic, b"\x00\xffkey", b"\x00\xffvalue", headers, partition=1)).result(WAIT)
    assert position == (Partition(topic, 1), 0)
    with closing(place.bus.reader([topic], {})) as reader:
        (found,) = collect(reader, 1)
    assert (found.key, found.value, found.headers) == (b"\x00\xffkey", b"\x00\xffvalue", headers)
    assert (found.partition, found.offset) == position
    assert before - 5 < found.time_ms / 1000 < time.time() + 5


def test_a_record_alone_waits_for_no_company(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_LINGER_MS", 29_000)  # as long as the limits of delivery allow
    topic = place.topic(1)
    with closing(place.bus.producer()) as producer:
        assert [producer.publish(Record(topic, b"", b"")).result(20)[1] for _ in range(3)] == [0, 1, 2]


def test_large_records(place: Place, producer: Producer) -> None:
    topic = place.topic(1)
    sizes = [900 << 10, 1 << 20, 900 << 10, MAX_RECORD_BYTES - 3, 10]
    futures = [producer.publish(Record(topic, b"key", bytes([i]) * size)) for i, size in enumerate(sizes)]
    with pytest.raises(RecordTooLarge, match=str(MAX_RECORD_BYTES)):
        producer.publish(Record(topic, b"key", bytes(MAX_RECORD_BYTES))).result(WAIT)
    assert [future.result(WAIT)[1] for future in futures] == [0, 1, 2, 3, 4]
    with closing(place.bus.reader([topic], {})) as reader:
        found = collect(reader, 5)
    assert [(len(r.value), r.value[0]) for r in found] == [(size, i) for i, size in enumerate(sizes)]


def test_what_cannot_be_published(place: Place, producer: Producer) -> None:
    topic = place.topic(2)
    with pytest.raises(UnknownTopic, match="headrace topics"):
        producer.publish(Record("test.never-made", b"", b"")).result(WAIT)
    with pytest.raises(BusError, match="no partition 7"):
        producer.publish(Record(topic, b"", b"", partition=7)).result(WAIT)
    assert producer.publish(Record(topic, b"", b"")).result(WAIT)[1] == 0
    assert producer.flush(WAIT)
    producer.close()
    with pytest.raises(BusUnavailable, match="closed"):
        producer.publish(Record(topic, b"", b"")).result(WAIT)


def test_many_threads_publish_in_their_order(place: Place, producer: Producer) -> None:
    topic = place.topic(4)

    def run(name: str) -> None:
        publish(producer, topic, [f"{name} {i % 7}" for i in range(300)])

    threads = [threading.Thread(target=run, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    with closing(place.bus.reader([topic], {})) as reader:
        found = collect(reader, 1200)
    for thread in threads:
        thread.join()
    by_key: defaultdict[bytes, list[int]] = defaultdict(list)
    for record in found:
        by_key[record.key].append(int(record.value))
    assert len(by_key) == 28
    assert all(numbers == sorted(set(numbers)) for numbers in by_key.values())


def test_two_producers_of_one_partition_leave_no_gap(place: Place, producer: Producer) -> None:
    topic = place.topic(1)
    with closing(place.bus.producer()) as other:
        futures = [p.publish(Record(topic, b"", b"")) for _ in range(300) for p in (producer, other)]
        assert sorted(future.result(WAIT)[1] for future in futures) == list(range(600))


def test_a_group_goes_on_where_it_committed(place: Place, producer: Producer) -> None:
    topic = place.topic(1)
    publish(producer, topic, ["k"] * 10)
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        records = collect(consumer, 10)
        consumer.commit(done(records[:4]))
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        assert values(collect(consumer, 6)) == [4, 5, 6, 7, 8, 9]
        consumer.commit({Partition(topic, 0): 10})
        publish(producer, topic, ["k"], 10)
        assert values(collect(consumer, 1, commit=True)) == [10]
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        quiet(consumer, 3)
    with closing(place.bus.consumer("another group", [topic])) as consumer:
        assert values(collect(consumer, 11)) == list(range(11))


def test_a_poll_returns_no_more_than_asked(place: Place, producer: Producer) -> None:
    topic = place.topic(2)
    publish(producer, topic, [str(i) for i in range(50)])
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        found: list[Received] = []
        while len(found) < 50:
            records = consumer.poll(1, 7)
            assert len(records) <= 7
            found += records


def test_a_poll_ends_when_it_is_woken(place: Place, producer: Producer) -> None:
    topic = place.topic(1)
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        until(lambda: not consumer.poll(0) and len(consumer.assignment()) == 1)
        consumer.wakeup()  # before it begins
        assert consumer.poll(600) == []
        threading.Timer(0.2, consumer.wakeup).start()
        assert consumer.poll(600) == []
        publish(producer, topic, ["here"])
        assert values(collect(consumer, 1)) == [0]


def test_members_share_and_take_over_at_once_from_one_that_closes(place: Place, producer: Producer) -> None:
    topic = place.topic(4)
    lost: list[Partition] = []
    with closing(Polling(place.bus.consumer(topic, [topic], Assignment(on_lost=lost.extend)))) as first:
        until(lambda: len(first.assignment()) == 4)
        with closing(Polling(place.bus.consumer(topic, [topic]))) as second:
            until(lambda: len(first.assignment()) == len(second.assignment()) == 2)
            assert not first.assignment() & second.assignment()
            assert set(lost) == second.assignment()
            publish(producer, topic, [str(i) for i in range(100)])
            until(lambda: len(first.records) + len(second.records) == 100)
            assert {r.partition for r in first.records} == first.assignment()
            assert {r.partition for r in second.records} == second.assignment()
            first.close()
            assert len(lost) == 4
            until(lambda: len(second.assignment()) == 4)
            publish(producer, topic, [str(i) for i in range(100)], 100)
            until(lambda: len(first.records) + len(second.records) == 200)
            assert sorted(values(first.records + second.records)) == list(range(200))


def test_start_at_says_where_to_go_on(place: Place, producer: Producer) -> None:
    topic = place.topic(3)
    for number in range(3):
        for future in [producer.publish(Record(topic, b"", b"", partition=number)) for _ in range(10)]:
            future.result(WAIT)
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        collect(consumer, 30)
        consumer.commit({Partition(topic, 1): 8})
    asked: list[tuple[int, set[int]]] = []

    def start_at(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        asked.append((threading.get_ident(), {p.number for p in partitions}))
        if len(asked) == 1:
            raise LookupError("not now")
        return {p: 6 for p in partitions if p.number == 0}

    with closing(place.bus.consumer(topic, [topic], Assignment(start_at=start_at))) as consumer:
        with pytest.raises(LookupError):
            until(lambda: False, consumer)
        found = collect(consumer, 4 + 2 + 10)
        quiet(consumer)
    offsets = {n: [r.offset for r in found if r.partition.number == n] for n in range(3)}
    assert offsets == {0: [6, 7, 8, 9], 1: [8, 9], 2: list(range(10))}
    assert {thread for thread, _ in asked} == {threading.get_ident()}
    assert asked[0][1] == asked[1][1] == {0, 1, 2}


def test_pause_resume_and_seek(place: Place, producer: Producer) -> None:
    topic = place.topic(2)
    zero, one = Partition(topic, 0), Partition(topic, 1)

    def publish_to_both(value: bytes) -> None:
        for partition in (0, 1):
            producer.publish(Record(topic, b"", value, partition=partition)).result(WAIT)

    with closing(place.bus.consumer(topic, [topic])) as consumer:
        until(lambda: len(consumer.assignment()) == 2, consumer)
        consumer.pause([zero])
        publish_to_both(b"a")
        assert [r.partition for r in collect(consumer, 1)] == [one]
        quiet(consumer)
        assert consumer.assignment() == {zero, one}
        consumer.resume([zero])
        assert [r.partition for r in collect(consumer, 1)] == [zero]
        publish_to_both(b"b")
        collect(consumer, 2)
        consumer.seek(one, 0)
        assert [(r.partition, r.value) for r in collect(consumer, 2)] == [(one, b"a"), (one, b"b")]
        with pytest.raises(ValueError, match="not in the assignment"):
            consumer.seek(Partition(topic, 9), 0)


def test_a_reader_reads_from_its_positions(place: Place, producer: Producer) -> None:
    topic, other = place.topic(2), place.topic(1)
    for number in (0, 1):
        for _ in range(5):
            producer.publish(Record(topic, b"", b"old", partition=number)).result(WAIT)
    zero, one, two = Partition(topic, 0), Partition(topic, 1), Partition(other, 0)
    with closing(place.bus.reader([topic, other], {zero: 3})) as reader:
        assert reader.positions() == {zero: 3}
        found = collect(reader, 7)
        assert sorted((r.partition.number, r.offset) for r in found) == [(0, 3), (0, 4), *((1, i) for i in range(5))]
        until(lambda: reader.positions() == {zero: 5, one: 5, two: 0}, reader)
    with closing(place.bus.reader([topic], place.bus.end_offsets([topic]))) as reader:
        quiet(reader)
        producer.publish(Record(topic, b"", b"new", partition=1)).result(WAIT)
        assert [(r.offset, r.value) for r in collect(reader, 1)] == [(5, b"new")]
        assert reader.positions() == {zero: 5, one: 6}


def test_topics_grow(place: Place, producer: Producer) -> None:
    topic = place.topic(1)
    with (
        closing(place.bus.consumer(topic, [topic])) as consumer,
        closing(place.bus.reader([topic], {})) as reader,
    ):
        publish(producer, topic, ["k"])
        collect(consumer, 1)
        collect(reader, 1)
        place.bus.ensure_topics({topic: 3})
        place.bus.ensure_topics({topic: 2})
        assert place.bus.end_offsets([topic]) == {
            Partition(topic, 0): 1,
            Partition(topic, 1): 0,
            Partition(topic, 2): 0,
        }
        until(lambda: len(consumer.assignment()) == 3, consumer)
        late = place.bus.producer()
        late.publish(Record(topic, b"", b"", partition=2)).result(WAIT)
        late.close()
        assert [r.partition.number for r in collect(consumer, 1)] == [2]
        assert [r.partition.number for r in collect(reader, 1)] == [2]


def test_the_time_of_a_poll(place: Place, producer: Producer) -> None:
    topic = place.topic(1)
    with closing(place.bus.consumer(topic, [topic])) as consumer:
        until(consumer.assignment, consumer)
        quiet(consumer, 0.5)
        for seconds in (0.0, 0.4):
            started = time.monotonic()
            assert not consumer.poll(seconds)
            assert time.monotonic() - started > seconds - 0.05
        threading.Timer(0.3, lambda: producer.publish(Record(topic, b"", b""))).start()
        assert consumer.poll(WAIT)


def test_retention_in_postgres(database: str) -> None:
    dsn = as_role(database, worker_role("bus"))
    short, consumed, kept = "test.short", "test.consumed", "test.kept"
    with (
        closing(PostgresBus(dsn, retention_s={short: 60.0}, drop_consumed={consumed})) as bus,
        closing(bus.producer()) as producer,
    ):
        bus.ensure_topics({short: 1, consumed: 1, kept: 1})
        for topic in (short, consumed, kept):
            publish(producer, topic, ["k"] * 1200)
        with closing(bus.consumer("g", [consumed])) as consumer, closing(bus.consumer("h", [consumed])) as other:
            consumer.commit(done(collect(consumer, 1200)))
            collect(other, 1200)
            other.commit({Partition(consumed, 0): 700})
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("UPDATE bus.records SET create_time = now() - interval '61 s' WHERE record_offset < 1100")
            bus.tidy()
            left = conn.execute(
                "SELECT topic, min(record_offset), count(*) FROM bus.records JOIN bus.partitions USING (partition_id)"
                " GROUP BY topic"
            ).fetchall()
        assert {topic: (first, count) for topic, first, count in left} == {
            short: (1100, 100),
            consumed: (700, 500),
            kept: (0, 1200),
        }
        with closing(bus.reader([short], {})) as reader:
            assert values(collect(reader, 100)) == list(range(1100, 1200))
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("UPDATE bus.records SET create_time = now() - interval '61 s'")
        bus.tidy()
        with closing(bus.reader([short], {})) as reader:
            quiet(reader)
            assert reader.positions() == {Partition(short, 0): 1200}
            publish(producer, short, ["k"], 1200)
            assert [r.offset for r in collect(reader, 1)] == [1200]


@pytest.mark.real
def test_a_member_that_does_not_poll_keeps_no_other_from_the_records(kafka: str) -> None:
    topic = f"test.{uuid.uuid4().hex}"
    with closing(KafkaBus(KafkaConfig(bootstrap=kafka, join_limit_s=2.0))) as bus, closing(bus.producer()) as producer:
        bus.ensure_topics({topic: 2})
        with closing(bus.consumer(topic, [topic])) as owner, closing(bus.consumer(topic, [topic])) as other:
            publish(producer, topic, ["a", "b"])
            collect(owner, 2, commit=True)
            publish(producer, topic, ["c"])
            assert [record.key for record in collect(other, 1)] == [b"c"]
