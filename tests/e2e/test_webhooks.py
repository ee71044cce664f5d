"""Webhooks from processes of their own, over Kafka: none is lost when the registry is killed."""

import secrets
import threading
from typing import Any

import httpx
import psycopg
import pytest

import headrace as hr
from fix_bus import until
from fix_platform import Platform
from fix_webhooks import hanging, receiving, status


def make_model(platform: Platform, name: str) -> None:
    """By MLflow's route, so that the call ends when the model is there."""
    answer = httpx.post(f"{platform.uri}/api/2.0/mlflow/registered-models/create", json={"name": name}, timeout=30)
    assert answer.status_code == 200, answer.text


def test_an_event_just_before_the_registry_is_killed(platform: Platform) -> None:
    """Whether it was on the outbox, on the bus or recorded then: it is delivered, with one id however often it comes."""
    registry = platform.services["registry"]
    mark = secrets.token_hex(4)
    with receiving() as receiver, hr.connect(platform.uri) as client:
        hook = client.webhooks.create("killed", receiver.url(), ["registered_model.created"], secret="s3cret")
        names = [f"killed-{mark}-{number}" for number in range(6)]
        for name in names:
            make_model(platform, name)
            registry.kill()
            registry.start()
            registry.wait()
            platform.wait_healthy()
        deliveries = told(receiver.wait(len(names)), names)
        while deliveries.keys() != set(names):  # one came twice
            deliveries = told(receiver.wait(len(receiver.received) + 1), names)
        assert all(len(ids) == 1 for ids in deliveries.values())
        assert all(one.is_signed_with("s3cret") for one in receiver.received)
        client.webhooks.delete(hook.id)


@pytest.mark.parametrize("noted", [True, False], ids=["failed", "under way"])
def test_a_delivery_that_is_not_over_when_the_registry_is_killed(platform: Platform, noted: bool) -> None:
    """The process that was to try again is gone, and the next one does."""
    registry = platform.services["registry"]
    over = threading.Event()
    with (
        receiving() as receiver,
        hr.connect(platform.uri) as client,
        psycopg.connect(platform.environ["HEADRACE_DATABASE"], autocommit=True) as conn,
    ):
        receiver.answers.append(status(503, retry_after="1") if noted else hanging(over))
        hook = client.webhooks.create("waits", receiver.url(), ["registered_model.created"])
        make_model(platform, f"waits-{secrets.token_hex(4)}")
        receiver.wait(1)
        until(lambda: attempts(conn, hook.id) == int(noted))
        registry.kill()
        over.set()
        if not noted:  # what a minute does: nobody can know sooner that the process is dead, and not slow
            conn.execute("UPDATE registry.webhook_deliveries SET due_time = now() WHERE webhook_id = %s", [hook.id])
        registry.start()
        registry.wait()
        platform.wait_healthy()
        first, second = receiver.wait(2)
        assert first.delivery_id == second.delivery_id
        client.webhooks.delete(hook.id)


def attempts(conn: "psycopg.Connection[Any]", webhook_id: str) -> int:
    """Of its one delivery, that are noted."""
    row = conn.execute(
        "SELECT attempts FROM registry.webhook_deliveries WHERE webhook_id = %s", [webhook_id]
    ).fetchone()
    return int(row[0]) if row else 0


def told(received: list[Any], names: list[str]) -> dict[str, set[str]]:
    """Name of a model → the ids of deliveries about it."""
    found: dict[str, set[str]] = {}
    for one in received:
        name = one.told["data"]["name"]
        if name in names:
            found.setdefault(name, set()).add(one.delivery_id)
    return found
