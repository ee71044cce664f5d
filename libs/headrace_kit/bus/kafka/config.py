"""How to reach Kafka, and what is asked of it."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

_CONNECT_MS: Final = 5_000
_REQUEST_S: Final = 10.0
_METADATA_MS: Final = 10_000  # how soon new partitions are seen


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConfig:
    """Where Kafka is, how to get in, and what is asked of it."""

    bootstrap: str
    """host:port[,host:port]"""
    replication: int = 1
    """Copies of each partition of topics that are made; with 3 or more, a write needs all but one of them."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    delivery_timeout_s: float = 120.0
    """How long a record may take to become durable."""
    session_timeout_s: float = 6.0
    """How long a member of a group may be silent; the least that brokers allow by default."""
    join_limit_s: float = 30.0
    """How long a change of a group waits for a member that does not poll, or died while it joined; then it goes on without."""
    away_limit_s: float = 30.0
    """How long polls bear a Kafka that does not answer."""

    @property
    def patience_ms(self) -> int:
        """How long one request may take."""
        return round(min(_REQUEST_S, self.away_limit_s) * 1000)

    def client(self) -> dict[str, Any]:
        """The options of every kafka-python client."""
        return {
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "ssl_cafile": self.ssl_cafile,
            "ssl_certfile": self.ssl_certfile,
            "ssl_keyfile": self.ssl_keyfile,
            "bootstrap_timeout_ms": _CONNECT_MS,
            "reconnect_backoff_max_ms": 2_000,
            "metadata_max_age_ms": _METADATA_MS,
        }
