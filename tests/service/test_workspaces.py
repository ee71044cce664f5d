"""Workspaces through the services' ports: what is in one is seen in no other, and in no other tenant's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import headrace as hr
from fix_client import all_services
from fix_services import Running, as_tenant, identity_stub
from headrace import cli, errors
from headrace.api.common.v1 import access_pb2
from headrace.api.identity.v1 import identity_service_pb2
from headrace.api.registry.v1 import registry_service_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire

Connect = Callable[..., hr.Client]
QUICK = hr.IngestSettings(age_s=0.02)


@pytest.fixture
async def services(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with all_services(database, tmp_path, auth="token") as made:
        yield made


@pytest.fixture
async def tokens(services: Running) -> dict[str, str]:
    """An admin's, of each of two tenants; and a viewer's and an editor's of the first."""
    made = {}
    for name, tenant, role in (
        ("mill", "mill", access_pb2.ROLE_ADMIN),
        ("bakery", "bakery", access_pb2.ROLE_ADMIN),
        ("viewer", "mill", access_pb2.ROLE_VIEWER),
        ("editor", "mill", access_pb2.ROLE_EDITOR),
    ):
        request = identity_service_pb2.CreateTokenRequest(name=name, role=role)
        answer = await identity_stub(services.channel).CreateToken(request, metadata=as_tenant(tenant))
        made[name] = answer.secret
    return made


@contextmanager
def clients(services: Running, tokens: dict[str, str], *wanted: tuple[str, str]) -> Iterator[list[hr.Client]]:
    """Clients of (token, workspace)."""
    made = [hr.Client(f"grpc://{services.address}", tokens[of], workspace, ingest=QUICK) for of, workspace in wanted]
    try:
        yield made
    finally:
        for client in made:
            client.close()


async def test_nothing_of_one_is_seen_in_another(services: Running, tokens: dict[str, str]) -> None:
    def work() -> None:
        wanted = (("mill", "default"), ("mill", "team-a"), ("mill", "team-b"), ("bakery", "team-a"))
        with clients(services, tokens, *wanted) as them:
            for name in ("team-b", "team-a"):
                them[0].workspaces.create(name)
            them[3].workspaces.create("team-a", "the bakery's")
            listening = [client.events.subscribe() for client in them]
            runs = [fill(client, number) for number, client in enumerate(them)]
            for number, client in enumerate(them):
                check(client, number, runs)
            for number, (client, subscription) in enumerate(zip(them, listening, strict=True)):
                with subscription:
                    prefix = f"tenants/{('mill', 'mill.team-a', 'mill.team-b', 'bakery.team-a')[number]}/"
                    events = [next(subscription) for _ in range(5)]
                    assert {event.subject.startswith(prefix) for event in events} == {True}, client.connection.workspace

    await asyncio.to_thread(work)


def fill(client: hr.Client, number: int) -> str:
    """A run with points, a file and a model, by names that all others use too; its id."""
    with client.start_run("same", experiment="same", params={"number": number}, capture=False) as run:
        run.log({"loss": float(number)}, step=number)
        run.log_text(f"of {number}", "notes.txt")
        model = run.log_model(lambda frame: [number] * len(frame))
        run.flush(visible=True)
    assert client.registry.register_model(model, "judge").version == 1
    client.registry.promote("judge", 1)
    return run.id


def check(client: hr.Client, number: int, runs: list[str]) -> None:
    (found,) = client.search_runs(["same"])
    assert (found.run_id, found.params["number"], found.metrics["loss"]) == (runs[number], str(number), float(number))
    assert list(client.metric_history(runs[number], "loss").values) == [float(number)]
    assert [e.name for e in client.search_experiments("name = 'same'")] == ["same"]
    assert [m.name for m in client.registry.list()] == ["judge"]
    assert [v.run_id for v in client.registry.list_versions("judge")] == [runs[number]]
    assert "notes.txt" in [file.path for file in client.artifacts.list(runs[number])]
    for foreign in runs[:number] + runs[number + 1 :]:
        calls: tuple[Callable[[], object], ...] = (
            lambda run_id=foreign: client.get_run(run_id),
            lambda run_id=foreign: client.metric_history(run_id, "loss"),
            lambda run_id=foreign: client.artifacts.list(run_id),
            lambda run_id=foreign: client.start_run(run_id=run_id, capture=False),
        )
        for call in calls:
            with pytest.raises(errors.NotFound):
                call()


async def test_a_token_opens_no_workspace_of_another_tenant(services: Running, tokens: dict[str, str]) -> None:
    def work() -> None:
        with clients(services, tokens, ("mill", "default"), ("bakery", "secret"), ("mill", "secret")) as them:
            them[0].workspaces.create("secret")
            for call in (
                them[1].search_runs,
                them[1].registry.list,
                them[1].search_experiments,
                lambda: next(them[1].events.subscribe()),
            ):
                with pytest.raises(errors.NotFound, match="Workspace 'secret' not found"):
                    call()
            assert [w.name for w in them[1].workspaces.list()] == ["default"]
            with pytest.raises(errors.NotFound):
                them[1].workspaces.get("secret")
            assert len(them[2].search_runs()) == 0

    await asyncio.to_thread(work)


async def test_a_deleted_one_is_refused_within_two_seconds(services: Running, tokens: dict[str, str]) -> None:
    def work() -> None:
        with clients(services, tokens, ("mill", "default"), ("editor", "brief")) as (admin, editor):
            with pytest.raises(errors.NotFound):
                editor.search_experiments()
            admin.workspaces.create("brief")
            assert [e.name for e in editor.search_experiments()] == ["Default"]
            admin.workspaces.delete("brief")
            time.sleep(2)  # so long the answer to a name may be kept
            with pytest.raises(errors.NotFound, match="Workspace 'brief' not found"):
                editor.search_experiments()
            with pytest.raises(errors.NotFound, match="Workspace 'brief' not found"):
                editor.start_run(capture=False)

    await asyncio.to_thread(work)


async def test_only_an_empty_one_is_deleted(services: Running, tokens: dict[str, str]) -> None:
    def work() -> None:
        with clients(services, tokens, ("mill", "default"), ("mill", "full")) as (outside, inside):
            outside.workspaces.create("full")
            call = inside.connection.call

            def refused(held: str) -> None:
                with pytest.raises(errors.WrongState, match=f"workspace 'full' still holds {held}"):
                    outside.workspaces.delete("full")

            with inside.start_run(capture=False) as run:
                run.log({"a": 1})
            refused(f"run {run.id}")
            call(lambda c: c.tracking.DeleteRun, wire.DeleteRunRequest(run_id=run.id))
            refused(f"run {run.id}")  # in the bin
            bread = inside.get_or_create_experiment("bread")
            refused("experiment 'bread'")
            call(lambda c: c.tracking.DeleteExperiment, wire.DeleteExperimentRequest(experiment_id=bread.id))
            refused("experiment 'bread'")
            assert {purged.run_id for purged in inside.purge(timedelta(0))} == {run.id, ""}
            made = call(lambda c: c.tracking.CreateLoggedModel, wire.CreateLoggedModelRequest(name="m"))
            refused(f"logged model {made.model.model_id}")
            gone = wire.DeleteLoggedModelRequest(model_id=made.model.model_id)
            call(lambda c: c.tracking.DeleteLoggedModel, gone)
            call(lambda c: c.registry.CreateModel, registry_service_pb2.CreateModelRequest(name="judge"))
            refused("model 'judge'")
            call(lambda c: c.registry.DeleteModel, registry_service_pb2.DeleteModelRequest(name="judge"))
            outside.workspaces.delete("full")
            assert [w.name for w in outside.workspaces.list()] == ["default"]

    await asyncio.to_thread(work)


async def test_default_is_always_there(services: Running, tokens: dict[str, str]) -> None:
    def work() -> None:
        with clients(services, tokens, ("viewer", "default"), ("mill", "nowhere")) as (viewer, lost):
            assert [w.name for w in viewer.workspaces.list()] == ["default"]
            assert viewer.workspaces.get("default").create_time is not None
            # Calls about the tenant do not ask in which workspace they come.
            assert [w.name for w in lost.workspaces.list()] == ["default"]
            assert lost.workspaces.update("default", "all of us").description == "all of us"
            with pytest.raises(errors.WrongState, match="reserved and cannot be deleted"):
                lost.workspaces.delete("default")
            with pytest.raises(errors.InvalidRequest, match="always there"):
                lost.workspaces.create("default")

    await asyncio.to_thread(work)


@pytest.mark.parametrize("name", ["x", "UP", "a.b", "a_b", "-ab", "ab-", "x" * 64, "api", "ajax-api", "workspaces"])
async def test_names_that_none_can_have(services: Running, tokens: dict[str, str], name: str) -> None:
    def work() -> None:
        with (
            clients(services, tokens, ("mill", "default")) as (client,),
            pytest.raises(errors.InvalidRequest, match=r"workspace\.name: must"),
        ):
            client.workspaces.create(name)

    await asyncio.to_thread(work)


async def test_who_may_do_what(services: Running, tokens: dict[str, str]) -> None:
    def work() -> None:
        wanted = (("mill", "default"), ("viewer", "team"), ("editor", "team"))
        with clients(services, tokens, *wanted) as (admin, viewer, editor):
            admin.workspaces.create("team")
            with pytest.raises(errors.AlreadyExists):
                admin.workspaces.create("team")
            editor.get_or_create_experiment("bread")
            assert {e.name for e in viewer.search_experiments()} == {"bread", "Default"}
            with pytest.raises(errors.PermissionDenied):
                viewer.get_or_create_experiment("cake")
            for client in (viewer, editor):
                assert client.workspaces.get("team").name == "team"
                for call in (
                    lambda who=client: who.workspaces.create("more"),
                    lambda who=client: who.workspaces.update("team", "x"),
                    lambda who=client: who.workspaces.delete("team"),
                ):
                    with pytest.raises(errors.PermissionDenied):
                        call()

    await asyncio.to_thread(work)


async def test_pages_show_each_workspace_once(services: Running, tokens: dict[str, str]) -> None:
    identity = identity_stub(services.channel)
    metadata = (("authorization", f"Bearer {tokens['mill']}"),)
    made = sorted({"default", *(f"w{number}-x" for number in range(7)), "w1-1", "wz"})
    for name in made:
        if name != "default":
            request = identity_service_pb2.CreateWorkspaceRequest()
            request.workspace.name = name
            await identity.CreateWorkspace(request, metadata=metadata)
    names, token = [], ""
    while True:
        asked = identity_service_pb2.ListWorkspacesRequest(page_size=3, page_token=token)
        page = await identity.ListWorkspaces(asked, metadata=metadata)
        names += [one.name for one in page.workspaces]
        token = page.next_page_token
        if not token:
            break
    assert names == made


async def test_an_offline_run_goes_to_the_workspace_that_it_was_for(
    services: Running, tokens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("HEADRACE_TOKEN", tokens["editor"])

    def work() -> None:
        with clients(services, tokens, ("mill", "default"), ("editor", "team")) as (outside, inside):
            outside.workspaces.create("team")
            with inside.start_run("away", capture=False, offline=True) as run:
                run.log({"loss": 0.5}, step=3)
            assert cli.main(["sync"]) == 0
            deadline = time.monotonic() + 30
            while inside.get_run(run.id).metrics.get("loss") != 0.5:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            with pytest.raises(errors.NotFound):
                outside.get_run(run.id)

    await asyncio.to_thread(work)


def test_a_clients_workspace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_WORKSPACE", "team")
    with hr.Client("grpc://127.0.0.1:1") as client, hr.Client("grpc://127.0.0.1:1", workspace="default") as other:
        assert ("x-headrace-workspace", "team") in client.connection.metadata()
        assert not other.connection.metadata()
    with pytest.raises(errors.InvalidRequest, match="HEADRACE_WORKSPACE"):
        hr.Client("grpc://127.0.0.1:1", workspace="Not this")
