"""Webhooks: what they are told, and how it gets there."""

import asyncio
import threading
import time
from contextlib import closing

from fix_bus import collect
from fix_hooks import ALL, Hooks, hooks, refused, wait
from fix_services import as_tenant
from fix_webhooks import WAIT_S, hanging, receiving, status
from headrace.api.registry.v1 import registry_service_pb2, webhook_pb2
from headrace.api.registry.v1 import webhook_service_pb2 as pb
from headrace_kit.bus import Record
from headrace_kit.bus.choose import open_bus
from headrace_kit.topics import MODELS
from headrace_registry import app


async def test_what_is_told_of_a_model_s_life(database: str) -> None:
    with receiving() as receiver:
        async with hooks(database) as h:
            await h.make(receiver, ALL, secret="s3cret")
            registry = h.hr.registry
            logged = await h.hr.logged_model(run=True)
            model = registry_service_pb2.CreateModelRequest(name="wine", description="red", tags={"a": "b"})
            await registry.CreateModel(model)
            version = registry_service_pb2.CreateModelVersionRequest(
                model_name="wine", model_id=logged.model_id, description="first", tags={"c": "d"}
            )
            await registry.CreateModelVersion(version)
            elsewhere = registry_service_pb2.CreateModelVersionRequest(model_name="wine", source="s3://elsewhere")
            await registry.CreateModelVersion(elsewhere)
            tags = registry_service_pb2.SetModelVersionTagsRequest(
                model_name="wine", version=1, tags={"c": "d", "e": "f", "g": "h"}
            )
            await registry.SetModelVersionTags(tags)
            await registry.DeleteModelVersionTag(
                registry_service_pb2.DeleteModelVersionTagRequest(model_name="wine", version=1, key="e")
            )
            await h.hr.promote("wine", 1, "best")
            await registry.DeleteModelAlias(
                registry_service_pb2.DeleteModelAliasRequest(model_name="wine", alias="best")
            )
            await nothing_to_tell(h)
            await h.until(lambda _: h.ask("SELECT count(*) FROM registry.handled_events") == [(12,)])
            received = await wait(receiver, 9)
            assert [row[0] for row in await h.finished(9)] == ["DELIVERED"] * 9
            assert len(receiver.received) == 9
    told = sorted(((one.event, one.told["data"]) for one in received if one.event != "model_version.created"), key=str)
    of = {"name": "wine", "version": "1"}
    assert told == [
        ("model_version_alias.created", {**of, "alias": "best"}),
        ("model_version_alias.created", {**of, "alias": "kept"}),
        ("model_version_alias.deleted", {"name": "wine", "alias": "best"}),
        ("model_version_tag.deleted", {**of, "key": "e"}),
        ("model_version_tag.set", {**of, "key": "e", "value": "f"}),
        ("model_version_tag.set", {**of, "key": "g", "value": "h"}),
        ("registered_model.created", {"name": "wine", "description": "red", "tags": {"a": "b"}}),
    ]
    versions = sorted((one.told["data"] for one in received if one.event == "model_version.created"), key=str)
    assert {"name": "wine", "version": "1", "source": f"models:/{logged.model_id}", "run_id": logged.run_id} | {
        "tags": {"c": "d"},
        "description": "first",
    } in versions
    assert {"name": "wine", "version": "2", "source": "s3://elsewhere", "run_id": None} | {
        "tags": {},
        "description": None,
    } in versions
    assert all(one.is_signed_with("s3cret") for one in received)
    assert len({one.delivery_id for one in received}) == len(received)
    assert all(one.told.keys() == {"entity", "action", "timestamp", "data", "workspace"} for one in received)
    assert {one.told["workspace"] for one in received} == {"default"}


async def nothing_to_tell(h: Hooks) -> None:
    """Stages, descriptions, renames and deletions; an alias comes along, and goes with what it points to."""
    registry, wire = h.hr.registry, registry_service_pb2
    await h.hr.promote("wine", 1, "kept")  # which is told
    await h.hr.promote("wine", 1, "kept")  # which changes nothing
    stage = wire.SetModelVersionStageRequest(model_name="wine", version=1, stage="Staging")
    await registry.SetModelVersionStage(stage)
    update = wire.UpdateModelRequest()
    update.model.name, update.model.description = "wine", "white"
    update.update_mask.paths.append("description")
    await registry.UpdateModel(update)
    await registry.SetModelTags(wire.SetModelTagsRequest(name="wine", tags={"x": "y"}))
    await registry.RenameModel(wire.RenameModelRequest(name="wine", new_name="grape"))
    await registry.DeleteModelVersion(wire.DeleteModelVersionRequest(model_name="grape", version=1))
    await registry.DeleteModel(wire.DeleteModelRequest(name="grape"))


async def test_many_tags_at_once_are_all_told(database: str) -> None:
    with receiving() as receiver:
        async with hooks(database) as h:
            await h.hr.model("wine", versions=1)
            await h.make(receiver, ["model_version_tag.set"])
            tags = {f"k{number}": str(number) for number in range(450)}
            request = registry_service_pb2.SetModelVersionTagsRequest(model_name="wine", version=1, tags=tags)
            await h.hr.registry.SetModelVersionTags(request)
            received = await wait(receiver, 450)
    assert {one.told["data"]["key"]: one.told["data"]["value"] for one in received} == tags


async def test_a_receiver_that_fails_is_told_again(database: str) -> None:
    with receiving() as receiver:
        receiver.answers.extend([status(503), status(429, retry_after="0"), status(500)])
        async with hooks(database) as h:
            await h.make(receiver, secret="s")
            await h.model("wine")
            received = await wait(receiver, 4)
            assert await h.finished(1) == [("DELIVERED", 4, 200, "")]
    assert len({one.delivery_id for one in received}) == 1
    assert len({one.body for one in received}) == 1
    assert all(one.is_signed_with("s") for one in received)


async def test_after_three_retries_it_is_given_up(database: str) -> None:
    with receiving() as receiver:
        receiver.answers.extend([status(502)] * 4)
        async with hooks(database) as h:
            await h.make(receiver)
            await h.model("wine")
            assert await h.finished(1) == [("FAILED", 4, 502, "the receiver answered 502")]
            assert len(receiver.received) == 4


async def test_what_another_attempt_cannot_mend_is_not_tried_again(database: str) -> None:
    with receiving() as receiver:
        receiver.answers.extend([status(404)])
        async with hooks(database) as h:
            await h.make(receiver)
            await h.model("wine")
            assert await h.finished(1) == [("FAILED", 1, 404, "the receiver answered 404")]


async def test_a_receiver_says_when_to_come_back(database: str) -> None:
    with receiving() as receiver:
        receiver.answers.extend([status(429, retry_after="3000")])
        async with hooks(database) as h:
            await h.make(receiver)
            await h.model("wine")
            await h.until(lambda rows: rows and rows[0][1] == 1)
            ((later,),) = h.ask(
                "SELECT due_time - create_time >= '3000 s' AND due_time - create_time < '3600 s'"
                " FROM registry.webhook_deliveries"
            )
            assert later


async def test_a_receiver_that_was_away_gets_it_when_it_is_back(database: str) -> None:
    with receiving() as receiver:
        port = receiver.port
    async with hooks(database, webhook_retries=50) as h:
        await h.make(receiver, secret="s")
        await h.model("wine")
        ((_, _, answered, problem),) = await h.until(lambda rows: rows and rows[0][1] >= 2)
        assert (answered, "refused" in problem) == (0, True)
        with receiving(port) as back:
            h.ask("UPDATE registry.webhook_deliveries SET due_time = now()")  # else the pauses grow long
            (received,) = await wait(back, 1)
            assert received.told["data"]["name"] == "wine"
            assert (await h.finished(1))[0][0] == "DELIVERED"


async def test_what_was_pending_is_sent_after_a_restart(database: str) -> None:
    with receiving() as receiver:
        receiver.answers.extend([status(503)])
        async with hooks(database, webhook_retry_seconds=0.5) as h:
            await h.make(receiver)
            await h.model("wine")
            await wait(receiver, 1)
        async with hooks(database):
            first, second = await wait(receiver, 2)
    assert first.delivery_id == second.delivery_id


async def test_what_was_under_way_is_sent_again_after_a_restart(database: str) -> None:
    """The first process breaks it off when it is told to stop, and it is due again at once."""
    release = threading.Event()
    with receiving() as receiver:
        receiver.answers.append(hanging(release))
        async with hooks(database) as h:
            await h.make(receiver)
            await h.model("wine")
            await wait(receiver, 1)
        async with hooks(database) as h:
            first, second = await wait(receiver, 2)
            assert await h.finished(1) == [("DELIVERED", 1, 200, "")]
        release.set()
    assert first.delivery_id == second.delivery_id


async def test_a_receiver_that_hangs_holds_nobody_up(database: str) -> None:
    release = threading.Event()
    with receiving() as slow, receiving() as quick:
        slow.answers.extend([hanging(release)] * 30)
        async with hooks(database, webhook_threads=8) as h:
            for _ in range(3):  # together they may take half of the threads
                await h.make(slow)
            await h.make(quick, tenant="other")
            for number in range(10):
                await h.model(f"slow-{number}")
            await wait(slow, 4)
            for number in range(20):
                await h.model(f"quick-{number}", tenant="other")
            await wait(quick, 20)
            assert len(slow.received) == 4
            release.set()


async def test_disabled_and_deleted_ones_are_told_nothing(database: str) -> None:
    with receiving() as receiver:
        receiver.answers.extend([status(503, retry_after="3000")] * 2)
        async with hooks(database) as h:
            asleep = await h.make(receiver.url("/asleep"))
            gone = await h.make(receiver.url("/gone"))
            await h.model("before")
            await h.until(lambda rows: [row[1] for row in rows] == [1, 1])
            assert (await h.change(asleep.webhook_id, disabled=True)).disabled
            await h.stub.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=gone.webhook_id))
            assert {row[0] for row in h.rows()} == {"DROPPED"}
            await h.model("meanwhile")
            await h.make(receiver.url("/new"))
            await h.change(asleep.webhook_id, disabled=False)
            await h.model("after")
            await wait(receiver, 1, "/asleep")
            await wait(receiver, 1, "/new")
            await h.finished(4)
    after = [(one.path, one.told["data"]["name"]) for one in receiver.received if one.told["data"]["name"] != "before"]
    assert sorted(after) == [("/asleep", "after"), ("/new", "after")]


async def test_an_event_that_comes_twice_is_told_once(database: str) -> None:
    """Even when nobody knows any more that it was handled, as long after a dead letter."""
    with receiving() as receiver:
        async with hooks(database) as h:
            await h.make(receiver, ALL)
            await h.model("wine")
            await h.finished(1)
            await asyncio.to_thread(publish_again, database)
            h.ask("DELETE FROM registry.handled_events")
            await asyncio.to_thread(publish_again, database)
            await h.model("grape")
            await h.until(lambda _: h.ask("SELECT count(*) FROM registry.handled_events") == [(2,)])
            assert [row[0] for row in await h.finished(2)] == ["DELIVERED", "DELIVERED"]
    assert [one.told["data"]["name"] for one in receiver.received] == ["wine", "grape"]


def publish_again(database: str) -> None:
    """The first record of the topic of models once more, as a relay does that died before it knew."""
    bus = open_bus(app.Config(database=database))
    with closing(bus), closing(bus.reader([MODELS.name], {})) as reader, closing(bus.producer()) as producer:
        first, *_ = collect(reader, 1)
        again = Record(MODELS.name, first.key, first.value, first.headers, first.partition.number)
        producer.publish(again).result(WAIT_S)


async def test_a_tenant_s_webhooks_are_its_own(database: str) -> None:
    with receiving() as receiver:
        async with hooks(database) as h:
            mine = await h.make(receiver.url("/mine"))
            await h.make(receiver.url("/theirs"), tenant="other")
            other = as_tenant("other")
            webhook_id = mine.webhook_id
            update = pb.UpdateWebhookRequest(webhook=webhook_pb2.Webhook(webhook_id=webhook_id, name="theirs"))
            update.update_mask.paths.append("name")
            for call in (
                h.stub.GetWebhook(pb.GetWebhookRequest(webhook_id=webhook_id), metadata=other),
                h.stub.UpdateWebhook(update, metadata=other),
                h.stub.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=webhook_id), metadata=other),
                h.stub.TestWebhook(pb.TestWebhookRequest(webhook_id=webhook_id), metadata=other),
            ):
                assert "no webhook" in await refused(call)
            listed = (await h.stub.ListWebhooks(pb.ListWebhooksRequest(), metadata=other)).webhooks
            assert [one.url for one in listed] == [receiver.url("/theirs")]
            await h.model("wine", tenant="other")
            await wait(receiver, 1)
            await h.finished(1)
    assert [one.path for one in receiver.received] == ["/theirs"]


async def test_a_workspace_is_named(database: str) -> None:
    with receiving() as receiver:
        async with hooks(database) as h:
            await h.make(receiver, tenant="default.team-a")
            await h.model("wine", tenant="default")
            await h.model("wine", tenant="default.team-a")
            await wait(receiver, 1)
            await h.finished(1)
    assert [one.told["workspace"] for one in receiver.received] == ["team-a"]


async def test_a_test_says_what_the_receiver_said(database: str) -> None:
    with receiving() as receiver:
        async with hooks(database) as h:
            made = await h.make(receiver, ["model_version.created", "prompt.created"], secret="s", disabled=True)
            said = await h.test(made.webhook_id)
            assert (said.success, said.response_status, said.response_body) == (True, 200, "thanks")
            receiver.answers.append(status(500, b"x" * 100_000))
            said = await h.test(made.webhook_id, "model_version_alias.deleted")
            assert (said.success, said.response_status, len(said.response_body)) == (False, 500, 16 << 10)
            assert "model_version.created" in await refused(h.test(made.webhook_id, "model_version.deleted"))
    assert [one.event for one in receiver.received] == ["model_version.created", "model_version_alias.deleted"]
    assert all(one.is_signed_with("s") for one in receiver.received)


async def test_what_is_refused_says_why(database: str) -> None:
    async with hooks(database) as h:
        url = "https://receiver.test/"
        for name in ("", "-a", "a" * 64, "a b", "a\n"):
            assert (await refused(h.make(url, name=name))).startswith("name: must be 1 to 63")
        assert (await refused(h.make(url, []))).startswith("events: must have at least one")
        assert (await refused(h.make(url, ["model.created"]))).startswith("events[0]: must begin with registered_model")
        assert "or model_version_tag.set" in await refused(h.make(url, ["model_version_tag.created"]))
        assert "secret: must have at most 512" in await refused(h.make(url, secret="s" * 513))
        assert "description: must have at most" in await refused(h.make(url, description="d" * 5_001))
        made = await h.make(url, ["prompt.created", "budget_policy.exceeded", "prompt.created"], name="a" * 63)
        assert list(made.events) == ["budget_policy.exceeded", "prompt.created"]
        assert "update_mask" in await refused(h.change(made.webhook_id))
        assert "no webhook" in await refused(h.test("nobody"))


async def test_pages(database: str) -> None:
    async with hooks(database) as h:
        made = [(await h.make("https://receiver.test/", name=f"hook-{number}")).name for number in range(5)]
        found: list[str] = []
        request = pb.ListWebhooksRequest(page_size=2)
        while True:
            answer = await h.stub.ListWebhooks(request)
            found += [one.name for one in answer.webhooks]
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
        assert found == made[::-1]
        assert "page_token" in await refused(h.stub.ListWebhooks(pb.ListWebhooksRequest(page_token="x")))


async def test_what_is_over_is_forgotten(database: str) -> None:
    with receiving() as receiver:
        async with hooks(database) as h:
            made = await h.make(receiver)
            await h.model("wine")
            await h.finished(1)
            await h.stub.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=made.webhook_id))
            h.ask("UPDATE registry.webhook_deliveries SET finish_time = now() - interval '8 days'")
            h.ask("UPDATE registry.webhooks SET delete_time = now() - interval '8 days'")
        async with hooks(database) as h:  # who starts sweeps first
            deadline = time.monotonic() + WAIT_S
            while h.ask("SELECT webhook_id FROM registry.webhooks"):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            assert not h.rows()
