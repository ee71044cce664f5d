"""The bus that the settings ask for."""

from typing import Final

from headrace_kit import topics
from headrace_kit.bus import Bus
from headrace_kit.config import ServiceConfig
from headrace_kit.db import as_role, worker_role

_DEAD_LETTERS_S: Final = 30 * 86_400.0
"""Somebody has to look at them first."""


def open_bus(config: ServiceConfig) -> Bus:
    """Kafka where the settings name one, else PostgreSQL. Imports only the client of the one in use."""
    retention_s: dict[str, float] = {topic.name: topic.retention_s for topic in topics.TOPICS}
    retention_s |= {topic.dead_letters: _DEAD_LETTERS_S for topic in topics.TOPICS if topic.consumers}
    if config.kafka:
        from headrace_kit.bus.kafka import KafkaBus, KafkaConfig  # noqa: PLC0415 - half a second of import

        settings = KafkaConfig(bootstrap=config.kafka, replication=config.kafka_replication)
        return KafkaBus(settings, retention_s=retention_s)
    from headrace_kit.bus.postgres import PostgresBus  # noqa: PLC0415 - not where Kafka is used

    # Frames are by far the most of all bytes, and lie in the tracking schema once they were written there.
    return PostgresBus(
        as_role(config.database, worker_role("bus")), retention_s=retention_s, drop_consumed={topics.FRAMES.name}
    )


def ensure_all_topics(config: ServiceConfig) -> None:
    """Makes the topics that are missing on the bus of these settings."""
    bus = open_bus(config)
    try:
        bus.ensure_topics(topics.partition_counts())
    finally:
        bus.close()
