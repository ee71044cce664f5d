"""The registry through its gRPC port, beside a real tracking service."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fix_registry import Platform, platform
from fix_services import as_tenant, running
from fix_tracking import refusal
from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as pb
from headrace.api.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from headrace.api.tracking.v1 import tracking_pb2, tracking_service_pb2
from headrace_registry import app

DESCRIPTION = FieldMask(paths=["description"])


@pytest.fixture
async def hr(database: str) -> AsyncIterator[Platform]:
    async with platform(database) as found:
        yield found


async def get(hr: Platform, name: str) -> registry_pb2.Model:
    return (await hr.registry.GetModel(pb.GetModelRequest(name=name))).model


async def get_version(hr: Platform, name: str, by: int | str) -> registry_pb2.ModelVersion:
    request = pb.GetModelVersionRequest(model_name=name)
    if isinstance(by, int):
        request.version = by
    else:
        request.alias = by
    return (await hr.registry.GetModelVersion(request)).version


async def test_model_keeps_what_it_is_given(hr: Platform) -> None:
    request = pb.CreateModelRequest(name="Wine Größe 1.0", description="reds", tags={"team": "cellar", "k": ""})
    made = (await hr.registry.CreateModel(request)).model
    assert (made.name, made.description, dict(made.tags)) == ("Wine Größe 1.0", "reds", {"team": "cellar", "k": ""})
    assert (made.latest_version, dict(made.aliases)) == (0, {})
    assert made.etag
    assert made == await get(hr, made.name)

    refused = await refusal(hr.registry.CreateModel, request)
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "MODEL_EXISTS")
    assert "'Wine Größe 1.0'" in refused.message


async def test_version_is_made_of_a_logged_model(hr: Platform) -> None:
    await hr.model("wine")
    logged = await hr.logged_model(run=True)
    request = pb.CreateModelVersionRequest(
        model_name="wine", model_id=logged.model_id, description="first", tags={"a": "b"}
    )
    made = (await hr.registry.CreateModelVersion(request)).version
    assert (made.model_name, made.version, made.model_id, made.run_id) == ("wine", 1, logged.model_id, logged.run_id)
    assert (made.description, dict(made.tags), list(made.aliases)) == ("first", {"a": "b"}, [])
    assert made.state == registry_pb2.ModelVersion.STATE_READY
    assert made == await get_version(hr, "wine", 1) == await get_version(hr, "wine", "Latest")
    assert (await get(hr, "wine")).latest_version == 1


async def test_version_needs_a_logged_model_that_is_ready(hr: Platform) -> None:
    await hr.model("wine")

    async def refused(model_id: str) -> Any:
        request = pb.CreateModelVersionRequest(model_name="wine", model_id=model_id)
        return await refusal(hr.registry.CreateModelVersion, request)

    unknown = await refused("m-" + "0" * 32)
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "LOGGED_MODEL_NOT_FOUND")
    assert unknown.field == "model_id"

    foreign = await refused((await hr.logged_model("elsewhere")).model_id)
    assert foreign.reason == "LOGGED_MODEL_NOT_FOUND"

    malformed = await refused("wine")
    assert (malformed.code, malformed.field) == (grpc.StatusCode.INVALID_ARGUMENT, "model_id")

    announced = await hr.tracking.CreateLoggedModel(tracking_service_pb2.CreateLoggedModelRequest(name="wine"))
    pending = await refused(announced.model.model_id)
    assert (pending.code, pending.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert pending.message.startswith("model_id: must be of a logged model that is READY")
    assert pending.message.endswith("is PENDING")

    failed = tracking_service_pb2.FinalizeLoggedModelRequest(
        model_id=announced.model.model_id, state=tracking_pb2.LoggedModel.STATE_FAILED, state_message="disk full"
    )
    await hr.tracking.FinalizeLoggedModel(failed)
    assert (await refused(announced.model.model_id)).message.endswith("is FAILED (disk full)")
    assert (await get(hr, "wine")).latest_version == 0


async def test_tracking_that_is_away_is_told_as_such(database: str) -> None:
    async with running(database, app, tracking="127.0.0.1:1") as services:
        registry: Any = RegistryServiceStub(services.channel)
        await registry.CreateModel(pb.CreateModelRequest(name="wine"))
        request = pb.CreateModelVersionRequest(model_name="wine", model_id="m-" + "0" * 32)
        refused = await refusal(registry.CreateModelVersion, request)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")


async def test_numbers_of_versions_are_never_used_again(hr: Platform) -> None:
    await hr.model("wine", versions=3)
    await hr.registry.DeleteModelVersion(pb.DeleteModelVersionRequest(model_name="wine", version=3))
    assert (await get(hr, "wine")).latest_version == 2
    logged = await hr.logged_model()
    request = pb.CreateModelVersionRequest(model_name="wine", model_id=logged.model_id)
    assert (await hr.registry.CreateModelVersion(request)).version.version == 4


async def test_versions_made_at_the_same_time_are_numbered_without_gaps(hr: Platform) -> None:
    await hr.model("wine")
    logged = await hr.logged_model()
    request = pb.CreateModelVersionRequest(model_name="wine", model_id=logged.model_id)
    made = await asyncio.gather(*(hr.registry.CreateModelVersion(request) for _ in range(25)))
    assert sorted(answer.version.version for answer in made) == list(range(1, 26))


async def test_request_sent_again_makes_no_second_version(hr: Platform) -> None:
    await hr.model("wine")
    logged = await hr.logged_model()
    request = pb.CreateModelVersionRequest(
        model_name="wine", model_id=logged.model_id, tags={"a": "1", "b": "2"}, request_id=str(uuid.uuid4())
    )
    made = await asyncio.gather(*(hr.registry.CreateModelVersion(request) for _ in range(8)))
    assert {answer.version.version for answer in made} == {1}

    await hr.registry.RenameModel(pb.RenameModelRequest(name="wine", new_name="reds"))
    again = (await hr.registry.CreateModelVersion(request)).version
    assert (again.model_name, again.version) == ("reds", 1)

    request.description = "something else"
    refused = await refusal(hr.registry.CreateModelVersion, request)
    assert (refused.code, refused.field) == (grpc.StatusCode.INVALID_ARGUMENT, "request_id")
    assert "version 1 of model 'reds'" in refused.message

    request.description = ""
    await hr.registry.DeleteModelVersion(pb.DeleteModelVersionRequest(model_name="reds", version=1))
    gone = await refusal(hr.registry.CreateModelVersion, request)
    assert gone.reason == "MODEL_VERSION_NOT_FOUND"


async def test_request_id_used_for_two_models_at_once_makes_one_version(hr: Platform) -> None:
    await hr.model("red")
    await hr.model("white")
    logged = await hr.logged_model()
    request_id = str(uuid.uuid4())
    answers = await asyncio.gather(
        *(
            hr.registry.CreateModelVersion(
                pb.CreateModelVersionRequest(model_name=name, model_id=logged.model_id, request_id=request_id)
            )
            for name in ("red", "white")
        ),
        return_exceptions=True,
    )
    (error,) = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert (error.details() or "").startswith("request_id: was used for another request")
    latest = [(await get(hr, name)).latest_version for name in ("red", "white")]
    assert sorted(latest) == [0, 1]


async def test_alias_moves(hr: Platform) -> None:
    await hr.model("wine", versions=2)
    assert await hr.promote("wine", 1) == 0
    assert await hr.promote("wine", 2) == 1
    assert await hr.promote("wine", 2) == 2
    assert await hr.promote("wine", 1, "Größe-1_a") == 0
    assert dict((await get(hr, "wine")).aliases) == {"production": 2, "Größe-1_a": 1}
    assert (await get_version(hr, "wine", "production")).version == 2
    assert list((await get_version(hr, "wine", 2)).aliases) == ["production"]

    await hr.registry.DeleteModelAlias(pb.DeleteModelAliasRequest(model_name="wine", alias="production"))
    refused = await refusal(
        hr.registry.DeleteModelAlias, pb.DeleteModelAliasRequest(model_name="wine", alias="production")
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "ALIAS_NOT_FOUND")
    for alias in ("production", "v1", "PRODUCTION"):
        request = pb.GetModelVersionRequest(model_name="wine", alias=alias)
        assert (await refusal(hr.registry.GetModelVersion, request)).reason == "ALIAS_NOT_FOUND"


async def test_deleted_version_takes_its_aliases_along(hr: Platform) -> None:
    await hr.model("wine", versions=2)
    await hr.promote("wine", 1)
    await hr.promote("wine", 1, "canary")
    await hr.promote("wine", 2, "next")
    await hr.registry.DeleteModelVersion(pb.DeleteModelVersionRequest(model_name="wine", version=1))
    assert dict((await get(hr, "wine")).aliases) == {"next": 2}
    refused = await refusal(hr.registry.GetModelVersion, pb.GetModelVersionRequest(model_name="wine", version=1))
    assert refused.reason == "MODEL_VERSION_NOT_FOUND"


async def test_rename_carries_everything(hr: Platform) -> None:
    await hr.model("wine", versions=2)
    await hr.model("tea")
    await hr.promote("wine", 2)
    await hr.registry.SetModelTags(pb.SetModelTagsRequest(name="wine", tags={"a": "b"}))
    renamed = (await hr.registry.RenameModel(pb.RenameModelRequest(name="wine", new_name="reds"))).model
    assert (renamed.name, dict(renamed.tags), dict(renamed.aliases)) == ("reds", {"a": "b"}, {"production": 2})
    assert renamed == await get(hr, "reds")
    assert (await get_version(hr, "reds", "production")).model_name == "reds"
    assert (await refusal(hr.registry.GetModel, pb.GetModelRequest(name="wine"))).reason == "MODEL_NOT_FOUND"

    same = (await hr.registry.RenameModel(pb.RenameModelRequest(name="reds", new_name="reds"))).model
    assert same == renamed
    taken = await refusal(hr.registry.RenameModel, pb.RenameModelRequest(name="reds", new_name="tea"))
    assert taken.reason == "MODEL_EXISTS"
    logged = await hr.logged_model()
    request = pb.CreateModelVersionRequest(model_name="reds", model_id=logged.model_id)
    assert (await hr.registry.CreateModelVersion(request)).version.version == 3


async def test_deleted_model_is_gone_and_its_name_is_free(hr: Platform) -> None:
    await hr.model("wine", versions=2)
    await hr.promote("wine", 2)
    await hr.registry.DeleteModel(pb.DeleteModelRequest(name="wine"))
    assert (await refusal(hr.registry.GetModel, pb.GetModelRequest(name="wine"))).reason == "MODEL_NOT_FOUND"
    (again,) = await hr.model("wine", versions=1)
    assert (again.version, list(again.aliases)) == (1, [])
    assert dict((await get(hr, "wine")).aliases) == {}


async def test_update_with_an_old_etag_overwrites_nothing(hr: Platform) -> None:
    await hr.model("wine", versions=1)
    model, version = await get(hr, "wine"), await get_version(hr, "wine", 1)
    model.description = "mine"
    version.description = "mine"
    await hr.registry.SetModelTags(pb.SetModelTagsRequest(name="wine", tags={"a": "b"}))
    await hr.promote("wine", 1)
    for call, request in (
        (hr.registry.UpdateModel, pb.UpdateModelRequest(model=model, update_mask=DESCRIPTION)),
        (hr.registry.UpdateModelVersion, pb.UpdateModelVersionRequest(version=version, update_mask=DESCRIPTION)),
    ):
        refused = await refusal(call, request)
        assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    model.etag = (await get(hr, "wine")).etag
    version.etag = (await get_version(hr, "wine", 1)).etag
    updated = (await hr.registry.UpdateModel(pb.UpdateModelRequest(model=model, update_mask=DESCRIPTION))).model
    assert updated.description == "mine"
    assert updated.etag != model.etag
    assert updated == await get(hr, "wine")
    request = pb.UpdateModelVersionRequest(version=version, update_mask=DESCRIPTION)
    changed = (await hr.registry.UpdateModelVersion(request)).version
    assert (changed.description, changed.etag != version.etag) == ("mine", True)
    assert changed == await get_version(hr, "wine", 1)


async def test_tags_are_set_and_deleted(hr: Platform) -> None:
    await hr.model("wine", versions=1)
    await hr.registry.SetModelTags(pb.SetModelTagsRequest(name="wine", tags={"a": "1", "b": "2"}))
    await hr.registry.SetModelTags(pb.SetModelTagsRequest(name="wine", tags={"b": "3"}))
    await hr.registry.DeleteModelTag(pb.DeleteModelTagRequest(name="wine", key="a"))
    assert dict((await get(hr, "wine")).tags) == {"b": "3"}
    refused = await refusal(hr.registry.DeleteModelTag, pb.DeleteModelTagRequest(name="wine", key="a"))
    assert refused.reason == "TAG_NOT_FOUND"

    of_version = {"model_name": "wine", "version": 1}
    await hr.registry.SetModelVersionTags(pb.SetModelVersionTagsRequest(**of_version, tags={"c": "4"}))  # type: ignore[arg-type] # both fields
    assert dict((await get_version(hr, "wine", 1)).tags) == {"c": "4"}
    delete = pb.DeleteModelVersionTagRequest(**of_version, key="c")  # type: ignore[arg-type] # both fields
    await hr.registry.DeleteModelVersionTag(delete)
    assert (await refusal(hr.registry.DeleteModelVersionTag, delete)).reason == "TAG_NOT_FOUND"
    assert dict((await get_version(hr, "wine", 1)).tags) == {}


async def test_pages_show_everything_once(hr: Platform) -> None:
    names = ["b", "a", "ba", "c", "bb", "Z"]
    for name in names:
        await hr.model(name, versions=2)
    seen: list[str] = []
    request = pb.ListModelsRequest(page_size=2)
    while True:
        page = await hr.registry.ListModels(request)
        seen += [model.name for model in page.models]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert seen == sorted(names)
    prefixed = await hr.registry.ListModels(pb.ListModelsRequest(name_prefix="b"))
    assert [model.name for model in prefixed.models] == ["b", "ba", "bb"]

    versions: list[tuple[str, int]] = []
    of_all = pb.ListModelVersionsRequest(page_size=5)
    while True:
        found = await hr.registry.ListModelVersions(of_all)
        versions += [(version.model_name, version.version) for version in found.versions]
        of_all.page_token = found.next_page_token
        if not of_all.page_token:
            break
    assert versions == [(name, version) for name in reversed(names) for version in (2, 1)]

    other = pb.ListModelsRequest(name_prefix="b", page_token=(await hr.registry.ListModels(_two)).next_page_token)
    refused = await refusal(hr.registry.ListModels, other)
    assert (refused.reason, refused.field) == ("INVALID_PAGE_TOKEN", "page_token")


_two = pb.ListModelsRequest(page_size=2)


async def test_versions_are_listed_by_model_and_by_run(hr: Platform) -> None:
    await hr.model("wine", versions=3)
    await hr.model("empty")
    logged = await hr.logged_model(run=True)
    request = pb.CreateModelVersionRequest(model_name="wine", model_id=logged.model_id)
    await hr.registry.CreateModelVersion(request)

    async def numbers(**fields: Any) -> list[int]:
        found = await hr.registry.ListModelVersions(pb.ListModelVersionsRequest(**fields))
        return [version.version for version in found.versions]

    assert await numbers(model_name="wine") == [4, 3, 2, 1]
    assert await numbers(run_id=logged.run_id) == [4]
    assert await numbers(model_name="empty") == []
    assert await numbers(run_id="nowhere") == []
    refused = await refusal(hr.registry.ListModelVersions, pb.ListModelVersionsRequest(model_name="none"))
    assert refused.reason == "MODEL_NOT_FOUND"


async def test_page_of_heavy_models_fits_in_an_answer(hr: Platform) -> None:
    heavy = {f"k{number}": "x" * 90_000 for number in range(5)}
    for number in range(12):
        await hr.registry.CreateModel(pb.CreateModelRequest(name=f"m{number:02}", tags=heavy))
    first = await hr.registry.ListModels(pb.ListModelsRequest(page_size=1000))
    assert 1 <= len(first.models) < 12
    rest = await hr.registry.ListModels(pb.ListModelsRequest(page_size=1000, page_token=first.next_page_token))
    assert [model.name for model in (*first.models, *rest.models)] == [f"m{number:02}" for number in range(12)]


LONG = "x" * 257
BAD: list[tuple[str, Any, str]] = [
    ("CreateModel", pb.CreateModelRequest(name=""), "name"),
    ("CreateModel", pb.CreateModelRequest(name=LONG), "name"),
    ("CreateModel", pb.CreateModelRequest(name="a/b"), "name"),
    ("CreateModel", pb.CreateModelRequest(name="a:b"), "name"),
    ("CreateModel", pb.CreateModelRequest(name="a\0b"), "name"),
    ("CreateModel", pb.CreateModelRequest(name="a", description="x" * 5_001), "description"),
    ("CreateModel", pb.CreateModelRequest(name="a", tags={"": "x"}), "tags"),
    ("CreateModel", pb.CreateModelRequest(name="a", tags={"x" * 251: "x"}), "tags"),
    ("CreateModel", pb.CreateModelRequest(name="a", tags={"k": "x" * 100_001}), "tags[k]"),
    ("CreateModel", pb.CreateModelRequest(name="a", tags={f"k{n}": "x" * 99_000 for n in range(5)}), "tags"),
    ("GetModel", pb.GetModelRequest(name="\0"), "name"),
    ("UpdateModel", pb.UpdateModelRequest(model=registry_pb2.Model(name="wine")), "update_mask"),
    (
        "UpdateModel",
        pb.UpdateModelRequest(model=registry_pb2.Model(name="wine"), update_mask=FieldMask(paths=["name"])),
        "update_mask",
    ),
    ("RenameModel", pb.RenameModelRequest(name="wine", new_name="a/b"), "new_name"),
    ("ListModels", pb.ListModelsRequest(page_size=-1), "page_size"),
    ("ListModels", pb.ListModelsRequest(page_token="?"), "page_token"),
    ("CreateModelVersion", pb.CreateModelVersionRequest(model_name="wine", request_id="1"), "request_id"),
    ("CreateModelVersion", pb.CreateModelVersionRequest(model_name="wine"), "model_id"),
    ("GetModelVersion", pb.GetModelVersionRequest(model_name="wine"), "by"),
    ("GetModelVersion", pb.GetModelVersionRequest(model_name="wine", version=0), "version"),
    ("GetModelVersion", pb.GetModelVersionRequest(model_name="wine", alias="\0"), "alias"),
    ("DeleteModelVersion", pb.DeleteModelVersionRequest(model_name="wine", version=-1), "version"),
    ("ListModelVersions", pb.ListModelVersionsRequest(run_id="\0"), "run_id"),
    *(
        ("PromoteModelVersion", pb.PromoteModelVersionRequest(model_name="wine", version=1, alias=alias), "alias")
        for alias in ("latest", "LATEST", "v1", "V12", "a b", "a@b", "a\n", "x" * 256, "\0")
    ),
]


async def test_bad_input_names_the_field_and_leaves_nothing(hr: Platform) -> None:
    await hr.model("wine", versions=1)
    before = await get(hr, "wine")
    for method, request, field in BAD:
        refused = await refusal(getattr(hr.registry, method), request)
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT, (method, request)
        assert refused.field.startswith(field), (method, request, refused)
    assert await get(hr, "wine") == before
    assert [model.name for model in (await hr.registry.ListModels(pb.ListModelsRequest())).models] == ["wine"]


async def test_model_has_so_many_aliases_and_no_more(hr: Platform) -> None:
    await hr.model("wine", versions=2)
    for number in range(250):
        await hr.promote("wine", 1, f"a{number}")
    request = pb.PromoteModelVersionRequest(model_name="wine", version=1, alias="more")
    refused = await refusal(hr.registry.PromoteModelVersion, request)
    assert (refused.field, "250" in refused.message) == ("alias", True)
    assert await hr.promote("wine", 2, "a7") == 1


async def test_unknown_names_are_not_found(hr: Platform) -> None:
    await hr.model("wine", versions=1)
    for method, request, reason in (
        ("GetModel", pb.GetModelRequest(name="none"), "MODEL_NOT_FOUND"),
        ("DeleteModel", pb.DeleteModelRequest(name="none"), "MODEL_NOT_FOUND"),
        ("SetModelTags", pb.SetModelTagsRequest(name="none", tags={"a": "b"}), "MODEL_NOT_FOUND"),
        ("GetModelVersion", pb.GetModelVersionRequest(model_name="none", version=1), "MODEL_NOT_FOUND"),
        ("GetModelVersion", pb.GetModelVersionRequest(model_name="none", alias="a"), "MODEL_NOT_FOUND"),
        ("GetModelVersion", pb.GetModelVersionRequest(model_name="wine", version=2), "MODEL_VERSION_NOT_FOUND"),
        ("PromoteModelVersion", pb.PromoteModelVersionRequest(model_name="none", version=1), "MODEL_NOT_FOUND"),
        ("PromoteModelVersion", pb.PromoteModelVersionRequest(model_name="wine", version=2), "MODEL_VERSION_NOT_FOUND"),
        ("DeleteModelVersion", pb.DeleteModelVersionRequest(model_name="wine", version=2), "MODEL_VERSION_NOT_FOUND"),
    ):
        refused = await refusal(getattr(hr.registry, method), request)
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, reason), (method, request)


async def test_tenants_do_not_see_each_other(hr: Platform) -> None:
    await hr.model("wine", versions=1)
    await hr.promote("wine", 1)
    foreign = as_tenant("mill")
    for method, request in (
        ("GetModel", pb.GetModelRequest(name="wine")),
        ("DeleteModel", pb.DeleteModelRequest(name="wine")),
        ("RenameModel", pb.RenameModelRequest(name="wine", new_name="mine")),
        ("GetModelVersion", pb.GetModelVersionRequest(model_name="wine", version=1)),
        ("PromoteModelVersion", pb.PromoteModelVersionRequest(model_name="wine", version=1)),
        ("DeleteModelAlias", pb.DeleteModelAliasRequest(model_name="wine", alias="production")),
    ):
        refused = await refusal(getattr(hr.registry, method), request, metadata=foreign)
        assert refused.reason == "MODEL_NOT_FOUND", method
    assert not (await hr.registry.ListModelVersions(pb.ListModelVersionsRequest(), metadata=foreign)).versions
    await hr.model("wine", versions=1, tenant_id="mill")
    assert dict((await get(hr, "wine")).aliases) == {"production": 1}
