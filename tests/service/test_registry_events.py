"""What the registry tells: every change once, in the order of the changes, in the words that rebuild its state."""

import asyncio
import itertools
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_registry import Platform, platform
from fix_services import as_tenant
from fix_tracking import refusal
from headrace.api.events.v1 import event_service_pb2
from headrace.api.events.v1.event_service_pb2_grpc import EventServiceStub
from headrace.api.registry.v1 import registry_events_pb2
from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace_events import app as events_app
from headrace_kit.topics import EVENT_TYPES

Event = tuple[event_service_pb2.Event, Any]
"""The event and its message."""


async def told(hr: Platform, count: int, tenant_id: str = "default") -> list[Event]:
    """The tenant's first so many events; fails when there are more."""
    earliest: dict[str, Any] = {"from": event_service_pb2.START_EARLIEST}
    request = event_service_pb2.SubscribeRequest(**earliest)
    stub: Any = EventServiceStub(hr.services.channel)
    call = stub.Subscribe(request, metadata=as_tenant(tenant_id))
    found: list[Event] = []
    try:
        async with asyncio.timeout(60):
            while len(found) < count:
                answer = await call.read()
                if answer.HasField("event"):
                    found.append((answer.event, EVENT_TYPES[answer.event.type][1].FromString(answer.event.data)))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while not (answer := await call.read()).HasField("event"):
                    pass
                raise AssertionError(f"more than {count} events: {answer.event}")
    finally:
        call.cancel()
    return found


async def test_each_change_is_told_with_the_resource(database: str) -> None:
    async with platform(database, events_app) as hr:
        (version,) = await hr.model("wine", versions=1)
        await hr.promote("wine", 1)
        await hr.promote("wine", 1)  # it points there already
        tags = {"a": "b"}
        await hr.registry.SetModelTags(pb.SetModelTagsRequest(name="wine", tags=tags))
        await hr.registry.SetModelTags(pb.SetModelTagsRequest(name="wine", tags=tags))  # changes nothing
        await hr.registry.SetModelVersionTags(pb.SetModelVersionTagsRequest(model_name="wine", version=1, tags=tags))
        current = (await hr.registry.GetModelVersion(pb.GetModelVersionRequest(model_name="wine", version=1))).version
        await hr.registry.DeleteModelVersion(pb.DeleteModelVersionRequest(model_name="wine", version=1))
        await hr.registry.DeleteModel(pb.DeleteModelRequest(name="wine"))
        found = await told(hr, 8)
    model, one = "tenants/default/models/wine", "tenants/default/models/wine/versions/1"
    assert [(type(m).__name__, e.subject) for e, m in found if e.subject == model] == [
        ("ModelCreated", model),
        ("ModelUpdated", model),
        ("ModelDeleted", model),
    ]
    of_version = {type(m).__name__: m for e, m in found if e.subject == one}
    assert list(of_version) == [
        "ModelVersionCreated",
        "ModelVersionPromoted",
        "ModelVersionUpdated",
        "ModelAliasDeleted",
        "ModelVersionDeleted",
    ]
    assert of_version["ModelVersionCreated"].version == version
    promoted = of_version["ModelVersionPromoted"]
    assert (promoted.alias, promoted.previous_version, list(promoted.version.aliases)) == (
        "production",
        0,
        ["production"],
    )
    assert promoted.version.model_id == version.model_id
    assert of_version["ModelVersionUpdated"].version == current
    assert {e.source for e, _ in found} == {"/headrace/registry"}


async def test_promotions_at_the_same_time_are_told_in_the_order_of_the_moves(database: str) -> None:
    async with platform(database, events_app) as hr:
        await hr.model("wine", versions=5)
        targets = [1 + number % 5 for number in range(60)]
        previous = await asyncio.gather(*(hr.promote("wine", target) for target in targets))
        moves = Counter((before, to) for before, to in zip(previous, targets, strict=True) if before != to)
        found = await told(hr, 1 + 5 + moves.total())
        last = (await hr.registry.GetModel(pb.GetModelRequest(name="wine"))).model.aliases["production"]
    events = [m for _, m in found if isinstance(m, registry_events_pb2.ModelVersionPromoted)]
    assert [e.previous_version for e in events] == [0, *(e.version.version for e in events[:-1])]
    assert events[-1].version.version == last
    assert Counter((e.previous_version, e.version.version) for e in events) == moves


async def test_a_name_fought_over_is_made_and_deleted_by_turns(database: str) -> None:
    async with platform(database, events_app) as hr:

        async def quarrel() -> int:
            done = 0
            for _ in range(8):
                with suppress(grpc.aio.AioRpcError):
                    await hr.registry.CreateModel(pb.CreateModelRequest(name="wine"))
                    done += 1
                with suppress(grpc.aio.AioRpcError):
                    await hr.registry.DeleteModel(pb.DeleteModelRequest(name="wine"))
                    done += 1
            return done

        found = await told(hr, sum(await asyncio.gather(*(quarrel() for _ in range(6)))))
    kinds = [type(m).__name__ for _, m in found]
    assert kinds == [kind for kind, _ in zip(itertools.cycle(["ModelCreated", "ModelDeleted"]), kinds, strict=False)]


NAMES = ("a", "b", "c")
ALIASES = ("production", "canary")
OPERATIONS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(NAMES)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("version"), st.sampled_from(NAMES)),
    st.tuples(st.just("drop"), st.sampled_from(NAMES), st.integers(1, 4)),
    st.tuples(st.just("promote"), st.sampled_from(NAMES), st.integers(1, 4), st.sampled_from(ALIASES)),
    st.tuples(st.just("unalias"), st.sampled_from(NAMES), st.sampled_from(ALIASES)),
    st.tuples(st.just("tag"), st.sampled_from(NAMES), st.sampled_from("xy")),
)


@dataclass
class Known:
    """A model as it should be."""

    last: int = 0
    versions: set[int] = field(default_factory=set)
    aliases: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Expected:
    """The registry in memory; an operation returns the reason for which it is refused, or nothing."""

    def __init__(self) -> None:
        self.models: dict[str, Known] = {}
        self.events: Counter[str] = Counter()

    def create(self, name: str) -> str:
        if name in self.models:
            return "MODEL_EXISTS"
        self.models[name] = Known()
        self.events["ModelCreated"] += 1
        return ""

    def delete(self, name: str) -> str:
        if name not in self.models:
            return "MODEL_NOT_FOUND"
        gone = self.models.pop(name)
        self.events.update({"ModelAliasDeleted": len(gone.aliases), "ModelVersionDeleted": len(gone.versions)})
        self.events["ModelDeleted"] += 1
        return ""

    def rename(self, name: str, new: str) -> str:
        if name not in self.models:
            return "MODEL_NOT_FOUND"
        if name == new:
            return ""
        if new in self.models:
            return "MODEL_EXISTS"
        self.models[new] = self.models.pop(name)
        aliases = len(self.models[new].aliases)
        self.events.update({"ModelAliasDeleted": aliases, "ModelVersionPromoted": aliases, "ModelUpdated": 1})
        return ""

    def version(self, name: str) -> str:
        if name not in self.models:
            return "MODEL_NOT_FOUND"
        model = self.models[name]
        model.last += 1
        model.versions.add(model.last)
        self.events["ModelVersionCreated"] += 1
        return ""

    def drop(self, name: str, version: int) -> str:
        if reason := self._missing(name, version):
            return reason
        model = self.models[name]
        model.versions.remove(version)
        kept = {alias: to for alias, to in model.aliases.items() if to != version}
        self.events.update({"ModelAliasDeleted": len(model.aliases) - len(kept), "ModelVersionDeleted": 1})
        model.aliases = kept
        return ""

    def promote(self, name: str, version: int, alias: str) -> str:
        if reason := self._missing(name, version):
            return reason
        if self.models[name].aliases.get(alias) != version:
            self.models[name].aliases[alias] = version
            self.events["ModelVersionPromoted"] += 1
        return ""

    def unalias(self, name: str, alias: str) -> str:
        if name not in self.models:
            return "MODEL_NOT_FOUND"
        if self.models[name].aliases.pop(alias, None) is None:
            return "ALIAS_NOT_FOUND"
        self.events["ModelAliasDeleted"] += 1
        return ""

    def tag(self, name: str, value: str) -> str:
        if name not in self.models:
            return "MODEL_NOT_FOUND"
        if self.models[name].tags != {"t": value}:
            self.models[name].tags = {"t": value}
            self.events["ModelUpdated"] += 1
        return ""

    def _missing(self, name: str, version: int) -> str:
        if name not in self.models:
            return "MODEL_NOT_FOUND"
        return "" if version in self.models[name].versions else "MODEL_VERSION_NOT_FOUND"


def call_of(hr: Platform, model_id: str, operation: tuple[Any, ...]) -> tuple[Any, Any]:
    """The call that an operation is."""
    kind, name, *rest = operation
    registry = hr.registry
    match kind, rest:
        case "create", []:
            return registry.CreateModel, pb.CreateModelRequest(name=name)
        case "delete", []:
            return registry.DeleteModel, pb.DeleteModelRequest(name=name)
        case "rename", [new]:
            return registry.RenameModel, pb.RenameModelRequest(name=name, new_name=new)
        case "version", []:
            return registry.CreateModelVersion, pb.CreateModelVersionRequest(model_name=name, model_id=model_id)
        case "drop", [version]:
            return registry.DeleteModelVersion, pb.DeleteModelVersionRequest(model_name=name, version=version)
        case "promote", [version, alias]:
            request = pb.PromoteModelVersionRequest(model_name=name, version=version, alias=alias)
            return registry.PromoteModelVersion, request
        case "unalias", [alias]:
            return registry.DeleteModelAlias, pb.DeleteModelAliasRequest(model_name=name, alias=alias)
        case "tag", [value]:
            return registry.SetModelTags, pb.SetModelTagsRequest(name=name, tags={"t": value})
    raise AssertionError(operation)


def replayed(events: list[Event]) -> dict[str, dict[str, int]]:
    """Name to alias to version, from the topic of versions alone."""
    names: dict[str, dict[str, int]] = {}
    for _, message in events:
        match message:
            case registry_events_pb2.ModelVersionPromoted():
                aliases = names.setdefault(message.version.model_name, {})
                assert aliases.get(message.alias, 0) == message.previous_version
                aliases[message.alias] = message.version.version
            case registry_events_pb2.ModelAliasDeleted():
                assert names[message.model_name].pop(message.alias) == message.version
            case _:
                pass
    return {name: aliases for name, aliases in names.items() if aliases}


async def play(hr: Platform, tenant_id: str, operations: list[tuple[Any, ...]]) -> None:
    expected = Expected()
    metadata = as_tenant(tenant_id)
    model_id = (await hr.logged_model(tenant_id)).model_id
    for operation in operations:
        reason = getattr(expected, operation[0])(*operation[1:])
        call, request = call_of(hr, model_id, operation)
        if reason:
            assert (await refusal(call, request, metadata=metadata)).reason == reason
        else:
            await call(request, metadata=metadata)
    models = (await hr.registry.ListModels(pb.ListModelsRequest(), metadata=metadata)).models
    seen = {m.name: (dict(m.aliases), dict(m.tags), m.latest_version) for m in models}
    assert seen == {
        name: (known.aliases, known.tags, max(known.versions, default=0)) for name, known in expected.models.items()
    }
    events = await told(hr, expected.events.total(), tenant_id)
    assert Counter(type(m).__name__ for _, m in events) == +expected.events
    assert replayed(events) == {name: known.aliases for name, known in expected.models.items() if known.aliases}


def test_any_sequence_of_changes_leaves_what_it_should_and_is_told(database: str) -> None:
    """The events, replayed, rebuild the aliases of every name."""
    tenants = itertools.count()
    with asyncio.Runner() as loop:
        stack = AsyncExitStack()
        hr = loop.run(stack.enter_async_context(platform(database, events_app)))

        @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(OPERATIONS, max_size=40))
        def check(operations: list[tuple[Any, ...]]) -> None:
            loop.run(play(hr, f"t{next(tenants)}", operations))

        try:
            check()
        finally:
            loop.run(stack.aclose())
