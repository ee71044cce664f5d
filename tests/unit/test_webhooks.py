"""The pure rules of webhooks, and the way to an address that is checked where it is connected to."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_webhooks import Received, hanging, receiving
from headrace_registry.webhooks import courier, payloads, rules
from headrace_registry.webhooks.addresses import is_public, may_reach, networks
from headrace_registry.webhooks.courier import Courier, judged, pause, retry_after
from headrace_registry.webhooks.post import Answer, NoAnswer, OutOfReach, Poster
from headrace_registry.webhooks.rules import Reach
from headrace_registry.webhooks.seal import CannotUnseal, Seal

ID = UUID(int=7)
LOOPBACK = networks(["127.0.0.0/8"])
ANYWHERE = Reach(http=True, networks=LOOPBACK)


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *("224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1"),
        *(
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:1::1",
            "::7f00:1",
        ),
    ],
)
def test_addresses_that_are_not_public(text: str) -> None:
    assert not may_reach(text, ())


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(text: str) -> None:
    assert may_reach(text, ())


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_every_form(address: IPv4Address) -> None:
    forms = [
        IPv6Address(f"::ffff:{address}"),
        IPv6Address(int(IPv6Address("64:ff9b::")) | int(address)),
        IPv6Address(int(IPv6Address("2002::")) | int(address) << 80),
    ]
    assert {is_public(form) for form in forms} == {is_public(address)}
    assert not (is_public(address) and (address.is_private or address.is_multicast or address.is_loopback))


@given(st.ip_addresses(v=6))
def test_outside_of_the_internet_nothing_is_public(address: IPv6Address) -> None:
    translated = address.ipv4_mapped or address in IPv6Network("64:ff9b::/96")
    if address not in IPv6Network("2000::/3") and not translated:
        assert not is_public(address)


@given(st.ip_addresses())
def test_an_allowed_network_is_reached(address: IPv4Address | IPv6Address) -> None:
    assert may_reach(str(address), networks([str(address)]))


@given(st.integers(1, 50), st.floats(0.01, 100), st.floats(0, 1e9), st.floats(0, 1))
def test_pauses_grow_and_end(attempts: int, first: float, asked: float, chance: float) -> None:
    now = pause(attempts, first, asked, chance)
    assert min(first, 3_600) <= now <= 3_600
    assert now >= min(asked, 3_600)
    assert pause(attempts + 1, first, asked, 0.0) >= pause(attempts, first, asked, 1.0)


@given(st.integers(0, 10**9))
def test_seconds_to_wait(seconds: int) -> None:
    assert retry_after(str(seconds), 0.0) == seconds
    date = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    assert retry_after(date, 100.0) == max(0, seconds - 100)


@given(st.text())
def test_what_is_no_time_to_wait_is_none(text: str) -> None:
    assert retry_after(text, 2e9) >= 0.0


@given(st.integers(100, 999))
def test_which_answers_are_tried_again(status: int) -> None:
    outcome = judged(Answer(status, b"", "7"), 0.0)
    assert outcome.delivered == (200 <= status <= 299)
    assert outcome.again == (status == 429 or status >= 500)
    assert outcome.retry_after_s == (7.0 if outcome.again else 0.0)


@given(st.uuids(), st.integers(0, 2**40), st.binary(), st.text(min_size=1))
def test_a_signature_is_what_a_receiver_computes(delivery: UUID, time: int, body: bytes, secret: str) -> None:
    made = courier.headers(str(delivery), time, body, secret)
    received = Received("/", made, body)
    assert received.is_signed_with(secret)
    assert not received.is_signed_with(secret + "x")
    assert not Received("/", made, body + b" ").is_signed_with(secret)


@given(st.text(), st.text(), st.uuids())
def test_a_secret_is_opened_by_its_key_for_its_webhook_alone(secret: str, key: str, webhook: UUID) -> None:
    kept = Seal(key).seal(secret, "tenant", webhook)
    assert Seal(key).unseal(kept, "tenant", webhook) == secret
    if secret:
        for other, tenant, of in ((key + "x", "tenant", webhook), (key, "other", webhook), (key, "tenant", ID)):
            with pytest.raises(CannotUnseal):
                Seal(other).unseal(kept, tenant, of)
        with pytest.raises(CannotUnseal):
            Seal(key).unseal(kept[:-1], "tenant", webhook)


def test_every_event_has_an_example() -> None:
    every = [f"{entity}.{action}" for entity, actions in rules.EVENTS.items() for action in actions]
    assert sorted(payloads.EXAMPLES) == sorted(every)


def resolving(*turns: str) -> Any:
    """A name server that says something else each time."""
    left = list(turns)

    def resolve(host: str, port: int) -> list[Any]:
        return socket.getaddrinfo(left.pop(0), port, type=socket.SOCK_STREAM)

    return resolve


def test_a_name_is_looked_up_once() -> None:
    """What it means a moment later leads nowhere: the address that was checked is the one connected to."""
    with receiving() as receiver:
        poster = Poster(ANYWHERE, timeout_s=10, resolve=resolving("127.0.0.1"))
        assert poster.post(receiver.url(host="rebinding.test"), b"{}", {}).status == 200
        with pytest.raises(IndexError):
            poster.post(receiver.url(host="rebinding.test"), b"{}", {})
    assert receiver.received[0].headers["Host"] == f"rebinding.test:{receiver.port}"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"])
def test_a_name_of_a_private_address_is_not_connected_to(address: str) -> None:
    with pytest.raises(OutOfReach, match="public internet"):
        Poster(Reach(http=True), timeout_s=10, resolve=resolving(address)).post("http://inside.test/", b"", {})


def test_http_is_for_those_who_allow_it() -> None:
    with pytest.raises(OutOfReach, match="https"):
        Poster(Reach(networks=LOOPBACK), timeout_s=10).post("http://127.0.0.1:1/", b"", {})


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        Poster(ANYWHERE, timeout_s=10).post(receiver.url(), b"{}", {})
        assert (len(receiver.received), len(proxy.received)) == (1, 0)


def test_the_next_address_is_tried() -> None:
    def both(host: str, port: int) -> list[Any]:
        return [*resolving("127.0.0.3")(host, port), *resolving("127.0.0.1")(host, port)]

    with receiving() as receiver:
        assert Poster(ANYWHERE, timeout_s=10, resolve=both).post(receiver.url(), b"{}", {}).status == 200


def test_what_is_under_way_can_be_broken_off() -> None:
    """By another thread; the outcome is one that is tried again."""
    poster = Poster(ANYWHERE, timeout_s=60)
    hangs = threading.Event()
    with receiving() as receiver:
        receiver.answers.append(hanging(hangs))
        breaker = threading.Thread(target=lambda: (receiver.wait(1), poster.abort()))
        breaker.start()
        outcome = Courier(poster.post, Seal("k")).deliver("t", ID, receiver.url(), b"", ID, b"{}")
        breaker.join()
        assert (outcome.status, outcome.again) == (0, True)
        assert Courier(poster.post, Seal("k")).deliver("t", ID, receiver.url(), b"", ID, b"{}").again
        hangs.set()


@pytest.fixture
def tls_receiver(tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """The port of a receiver with a certificate for receiver.test, and what trusts it."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=receiver.test"),
            *("-addext", "subjectAltName=DNS:receiver.test"),
        ],
        check=True,
        capture_output=True,
    )
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate, key)
    with receiving(tls=server_side) as receiver:
        yield receiver.port, ssl.create_default_context(cafile=str(certificate))


def test_tls_is_with_the_host_of_the_url(tls_receiver: tuple[int, ssl.SSLContext]) -> None:
    port, trusting = tls_receiver
    resolve = resolving(*["127.0.0.1"] * 3)
    poster = Poster(Reach(networks=LOOPBACK), timeout_s=10, resolve=resolve, tls=trusting)
    assert poster.post(f"https://receiver.test:{port}/hook", b"{}", {}).body == b"thanks"
    with pytest.raises(NoAnswer, match="certificate"):
        poster.post(f"https://other.test:{port}/hook", b"{}", {})
    with pytest.raises(NoAnswer, match="certificate"):
        Poster(Reach(networks=LOOPBACK), timeout_s=10, resolve=resolve).post(f"https://receiver.test:{port}/", b"", {})


def test_what_a_literal_says_is_seen_at_once() -> None:
    for host in ("127.0.0.1", "[::1]", "localhost"):
        assert rules.url("url", f"https://{host}/", Reach(networks=networks(["127.0.0.1", "::1"])))
    assert ip_address("127.0.0.1") in LOOPBACK[0]
