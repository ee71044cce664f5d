"""Webhooks: where they may not lead, and what nobody may see."""

import logging
import threading
from typing import Any

import pytest

from fix_hooks import hooks, refused
from fix_webhooks import receiving, status
from headrace.api.registry.v1 import webhook_service_pb2 as pb


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/",
        "https://localhost/hook",
        "https://metadata.localhost/hook",
        "http://receiver.test/hook",
        "ftp://receiver.test/hook",
        "https://user:password@receiver.test/hook",
        "https:///hook",
        "https://receiver.test:port/hook",
        "https://receiver.test/a b",
        "https://receiver.test/" + "a" * 2_048,
        "receiver.test",
        "",
    ],
)
async def test_addresses_that_cannot_be(database: str, url: str) -> None:
    async with hooks(database, webhook_http=False, webhook_networks=()) as h:
        assert (await refused(h.make(url))).startswith("url: ")
        made = await h.make("https://receiver.test/hook")
        await refused(h.change(made.webhook_id, url=url))


async def test_a_name_of_this_machine_is_not_reached(database: str) -> None:
    """2130706433 is no address to look at, and one when it is looked up."""
    with receiving() as receiver:
        async with hooks(database, webhook_networks=()) as h:
            made = await h.make(receiver.url(host="2130706433"))
            said = await h.test(made.webhook_id)
            assert (said.success, said.response_status) == (False, 0)
            assert "public internet" in said.error_message
            await h.model("wine")
            ((state, attempts, answered, problem),) = await h.finished(1)
            assert (state, attempts, answered) == ("FAILED", 1, 0)
            assert "public internet" in problem
    assert not receiver.received


async def test_a_redirect_is_not_followed(database: str) -> None:
    with receiving() as private, receiving() as receiver:
        receiver.answers.extend([status(302, location=private.url()), status(307, location=private.url())])
        async with hooks(database) as h:
            made = await h.make(receiver)
            await h.model("wine")
            assert (await h.finished(1))[0][:3] == ("FAILED", 1, 302)
            said = await h.test(made.webhook_id)
            assert (said.success, said.response_status) == (False, 307)
            assert "redirects are not followed" in said.error_message
    assert not private.received


async def test_answers_without_end(database: str) -> None:
    """A receiver that says a byte now and then, for ever, has no more time than one that says nothing."""
    over = threading.Event()

    def drip(request: Any) -> None:
        while not over.wait(0.2):
            request.wfile.write(b"H")

    def pour(request: Any) -> None:
        request.send_response(200)
        request.end_headers()
        while not over.is_set():
            request.wfile.write(b"x" * 1_000)

    with receiving() as receiver:
        async with hooks(database, webhook_timeout_seconds=1.0) as h:
            made = await h.make(receiver)
            receiver.answers.extend([drip, pour])
            dripped = await h.test(made.webhook_id)
            poured = await h.test(made.webhook_id)
            over.set()
    assert dripped.error_message == "no answer within 1 s"
    assert poured.success


async def test_the_secret_is_kept_from_everyone(database: str, caplog: pytest.LogCaptureFixture) -> None:
    secret = "a-secret-that-nobody-sees"
    caplog.set_level(logging.DEBUG)
    with receiving() as receiver:
        receiver.answers.append(status(410))
        async with hooks(database) as h:
            made = await h.make(receiver.url("/hook?key=of-the-query"), secret=secret)
            assert made.signed
            listed = (await h.stub.ListWebhooks(pb.ListWebhooksRequest())).webhooks
            assert secret not in f"{made}{listed}"
            await h.model("wine")
            await h.finished(1)
            ((kept,),) = h.ask("SELECT secret FROM registry.webhooks")
            assert secret.encode() not in bytes(kept)
            assert not (await h.change(made.webhook_id, secret="")).signed
            await h.test(made.webhook_id)
            assert "X-MLflow-Signature" not in receiver.received[-1].headers
            await h.change(made.webhook_id, secret=secret)
        assert made.webhook_id in caplog.text
        assert secret not in caplog.text
        assert "of-the-query" not in caplog.text
        async with hooks(database, webhook_key="another") as h:
            said = await h.test(made.webhook_id)
            assert (said.success, "another key" in said.error_message) == (False, True)
            await h.change(made.webhook_id, secret="new")
            assert (await h.test(made.webhook_id)).success
    assert receiver.received[-1].is_signed_with("new")
