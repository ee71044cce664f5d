"""The pure parts of the kit."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.common.v1.error_reason_pb2 import ErrorReason
from headrace_kit import config, errors, paging, topics
from headrace_kit.config import ServiceConfig, setting
from headrace_kit.errors import InvalidField

KEYS = st.lists(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.none()), min_size=1)


@dataclass(frozen=True, kw_only=True)
class Oven(ServiceConfig):
    minutes: int = setting(12, "How long.")
    hot: bool = setting(False, "Whether.")
    trays: tuple[str, ...] = setting((), "Which.")
    folder: Path | None = setting(None, "Where.")


def test_settings_are_read_from_the_environment() -> None:
    oven = config.load(
        Oven,
        {
            "HEADRACE_SERVICE_SECRET": "s",
            "HEADRACE_MINUTES": "20",
            "HEADRACE_HOT": "true",
            "HEADRACE_TRAYS": "a, b",
            "HEADRACE_FOLDER": "/tmp",
        },
    )
    assert (oven.minutes, oven.hot, oven.trays, oven.folder) == (20, True, ("a", "b"), Path("/tmp"))
    assert "s" not in repr(oven).split("service_secret")[0][-1:]


def test_wrong_settings_are_told_all_at_once() -> None:
    environ = {
        "HEADRACE_MINUTES": "long",
        "HEADRACE_HOT": "perhaps",
        "HEADRACE_AUTH": "none",
        "HEADRACE_LISTEN": "nowhere",
    }
    with pytest.raises(config.ConfigError) as told:
        config.load(Oven, environ)
    for name in ("MINUTES", "HOT", "AUTH", "LISTEN", "SERVICE_SECRET"):
        assert f"HEADRACE_{name}: " in str(told.value)


def test_open_is_for_loopback_only() -> None:
    environ = {"HEADRACE_SERVICE_SECRET": "s", "HEADRACE_AUTH": "open", "HEADRACE_LISTEN": "0.0.0.0:1"}
    with pytest.raises(config.ConfigError, match="loopback"):
        config.load(Oven, environ)
    assert config.load(Oven, environ | {"HEADRACE_LISTEN": "[::1]:1"}).auth == "open"


@given(binding=st.text(), key=KEYS)
def test_page_tokens_bring_back_their_key(binding: str, key: list[str | int | float | None]) -> None:
    assert paging.decode(paging.encode(binding, key), binding) == key


@given(binding=st.text(), other=st.text(), key=KEYS)
def test_page_tokens_belong_to_their_request(binding: str, other: str, key: list[str | int | float | None]) -> None:
    if binding != other:
        with pytest.raises(errors.InvalidField, match="page_token"):
            paging.decode(paging.encode(binding, key), other)


@given(st.text(min_size=1))
def test_any_other_text_is_no_page_token(token: str) -> None:
    with pytest.raises(errors.InvalidField, match="page_token"):
        paging.decode(token, "x")


def test_every_reason_has_a_code() -> None:
    reasons = {number for number in ErrorReason.values() if number != error_reason_pb2.ERROR_REASON_UNSPECIFIED}
    assert set(errors.CODES) == reasons


def test_every_event_type_has_one_topic() -> None:
    messages = [message for topic in topics.EVENT_TOPICS for message in topic.messages]
    assert len(topics.EVENT_TYPES) == len(messages)
    assert len({topic.name for topic in topics.TOPICS}) == len(topics.TOPICS)


def test_a_status_fits_into_trailers_whatever_it_quotes() -> None:
    for text in ("x" * 100_000, "ä😀" * 20_000, "\ud800" * 5_000):
        error = InvalidField(f"params[{text}]", f"got {text}")
        message = errors.status_of(error).message
        sent = 3 * len(message.encode()) + 4 * errors.status_of(error).ByteSize() // 3  # percent-encoded, and in base64
        assert sent < 8 << 10
        assert message.startswith("params[")
