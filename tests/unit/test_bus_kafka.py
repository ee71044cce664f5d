"""What the consumer on Kafka makes of what kafka-python does; the rest of it is tested on a real Kafka."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kafka.structs import TopicPartition

from headrace_kit.bus import Assignment, Partition
from headrace_kit.bus.kafka import KafkaConfig
from headrace_kit.bus.kafka.consumer import KafkaConsumer, _Listener

ZERO, ONE = TopicPartition("t", 0), TopicPartition("t", 1)


class Library:
    """Stands for kafka-python's consumer: returns what is on the script, having told the listener."""

    def __init__(self) -> None:
        self.listener = _Listener(cast("Any", self), hold=True)
        self.script: list[tuple[set[TopicPartition], list[int]]] = []
        self.owned: set[TopicPartition] = set()
        self._coordinator = SimpleNamespace(need_rejoin=lambda: False, _join_task=None)

    def poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Any]]:
        if not self.script:
            return {}
        gained, offsets = self.script.pop(0)
        if gained:
            self.owned |= gained
            self.listener.on_partitions_assigned(gained)
        record: dict[str, Any] = {"topic": "t", "partition": 0, "key": b"", "value": b"", "headers": [], "timestamp": 0}
        return {ZERO: [SimpleNamespace(**record, offset=offset) for offset in offsets]}

    def assignment(self) -> set[TopicPartition]:
        return self.owned

    def pause(self, *partitions: TopicPartition) -> None:
        pass

    resume = pause


def test_records_polled_together_with_news_that_a_callback_refuses_are_kept() -> None:
    asked: list[Sequence[Partition]] = []

    def start_at(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        asked.append(partitions)
        if len(asked) == 2:
            raise LookupError("not now")
        return {}

    library = Library()
    consumer = KafkaConsumer(KafkaConfig(bootstrap="none"), "g", ["t"], Assignment(start_at=start_at))
    vars(consumer).update(_consumer=library, _listener=library.listener)
    library.script = [({ZERO}, [0, 1]), ({ONE}, [2, 3]), (set(), [4])]
    assert [r.offset for r in consumer.poll(0)] == [0, 1]
    with pytest.raises(LookupError):
        consumer.poll(0)
    assert [r.offset for r in consumer.poll(0)] == [2, 3]
    assert [r.offset for r in consumer.poll(0)] == [4]
    assert asked == [[Partition("t", 0)], [Partition("t", 1)], [Partition("t", 1)]]
    assert consumer.assignment() == {Partition("t", 0), Partition("t", 1)}
