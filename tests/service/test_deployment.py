"""The deployment service with real processes: promotions move traffic without a failed request, failures leave it where it is."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle
import grpc
import httpx
import pandas as pd
import pytest

from fix_deployment import (
    TRACE,
    FakeArtifacts,
    Registry,
    Watcher,
    fake_artifacts,
    fake_registry,
    load,
    routing,
    told,
)
from fix_services import running
from fix_serving import SPLIT, callable_model, eventually, sklearn_model
from headrace.api.deployment.v1 import deployment_pb2
from headrace.api.deployment.v1 import deployment_service_pb2 as pb
from headrace.models import save_callable
from headrace_deployment import app

cloudpickle.register_pickle_by_value(sys.modules[__name__])
Answering = Callable[..., str]
READY, DRAINING, STOPPED = (
    deployment_pb2.Instance.STATE_READY,
    deployment_pb2.Instance.STATE_DRAINING,
    deployment_pb2.Instance.STATE_STOPPED,
)
State = deployment_pb2.Deployment.State
ROW = {"dataframe_records": [{"seconds": 0.0}]}


@pytest.fixture
def artifacts() -> Iterator[FakeArtifacts]:
    with fake_artifacts() as fake:
        yield fake


@pytest.fixture
def registry(database: str) -> Iterator[Registry]:
    with fake_registry(database) as fake:
        yield fake


@pytest.fixture
def answering(tmp_path: Path, artifacts: FakeArtifacts) -> Answering:
    """Logs a model that answers this, after as many seconds as it is asked to, and loads in `loading` seconds."""

    def make(answer: str, tenant: str = "default", loading: float = 0.0) -> str:
        source = tmp_path / "source.py"
        source.write_text(
            f"import time\ntime.sleep({loading})\n"
            f"def predict(frame):\n    time.sleep(frame['seconds'].iloc[0])\n    return [{answer!r}]\n"
        )
        folder = tmp_path / f"made-{len(artifacts.folders)}"
        save_callable(source, folder, input_example=pd.DataFrame({"seconds": [0.0]}))
        return artifacts.add(tenant, folder)

    return make


@pytest.fixture
def deploying(database: str, tmp_path: Path, artifacts: FakeArtifacts) -> Callable[..., Any]:
    """Runs the service; calling again after the block ended is a restart."""

    @asynccontextmanager
    async def start(**settings: object) -> AsyncIterator[Watcher]:
        values = {
            "work_dir": tmp_path / "work",
            "artifacts": artifacts.address,
            "allow_model_code": True,
            "standby_instance": False,
        }
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(running(database, app, **{**values, **settings}))
            yield await stack.enter_async_context(routing(Watcher(services.channel)))

    return start


def from_here(folder: Path) -> Path:
    """The same folder as a relative path."""
    return Path(os.path.relpath(folder))


def processes(folder: Path) -> list[int]:
    """Model processes of this test that run, standbys too."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if f"{folder}/work/instances/" in line:
            found.append(int(process.name))
    return found


def outputs(folder: Path) -> list[str]:
    """What the model processes of this test wrote on stdout."""
    return [path.read_text() for path in (folder / "work/instances").glob("*/stdout")]


async def test_promotion_becomes_a_model_that_answers(
    deploying: Any, artifacts: FakeArtifacts, registry: Registry, tmp_path: Path
) -> None:
    model_id = artifacts.add("default", sklearn_model(tmp_path / "m"))
    async with deploying(
        allow_model_code=False, standby_instance=True, work_dir=from_here(tmp_path / "work")
    ) as watcher:
        registry.promote("wine", 1, model_id)
        deployment = await watcher.serves(1)
        assert deployment.path == "/serving/wine/invocations"
        (instance,) = deployment.instances
        assert await _ask(instance.address, body=SPLIT) == [0, 1]
        route = await watcher.routed(lambda r: list(r.addresses) == [instance.address])
        assert (route.version, route.traceparent) == (1, TRACE)
        assert await watcher.history() == ["promoted 1", "starting 1", "ready 1", "traffic moved 1"]

        cold = deployment.update_time.ToDatetime() - deployment.create_time.ToDatetime()
        await asyncio.to_thread(eventually, lambda: "STANDBY\n" in outputs(tmp_path), 60)
        before = datetime.now(UTC).replace(tzinfo=None)
        registry.promote("wine", 2, artifacts.add("default", tmp_path / "m"))
        warm = (await watcher.serves(2)).update_time.ToDatetime() - before
        assert warm < cold / 2
    assert processes(tmp_path) == []


async def test_new_version_takes_over_without_a_failed_request(
    deploying: Any, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    async with deploying() as watcher:
        registry.promote("wine", 1, answering("old"))
        first = await watcher.serves(1)
        async with load(watcher, ROW) as requests:
            await asyncio.sleep(0.5)
            address = first.instances[0].address
            slow = asyncio.create_task(_ask(address, seconds=3.0))
            await asyncio.sleep(0.5)
            registry.promote("wine", 2, answering("new"))
            await watcher.serves(2)
            assert await slow == ["old"]
            await watcher.until(lambda d: [i.state for i in d.instances] == [READY, STOPPED])
            await asyncio.sleep(0.3)
        assert requests.failures == []
        answers = [answer for _, _, answer in sorted(requests.answers)]
        assert len(answers) > 100
        assert answers == [["old"]] * answers.count(["old"]) + [["new"]] * answers.count(["new"])
        assert all(answer == [{1: "old", 2: "new"}[version]] for _, version, answer in requests.answers)
        assert (await watcher.history())[-4:] == ["starting 2", "ready 2", "traffic moved 2", "drained 1"]
        assert len(processes(tmp_path)) == 1


async def test_a_model_that_fails_leaves_the_old_one_serving(
    deploying: Any, artifacts: FakeArtifacts, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "MLmodel").write_text("flavors: {keras: {}}")
    async with deploying() as watcher:
        registry.promote("wine", 1, artifacts.add("default", broken))
        failed = await watcher.until(lambda d: d.state == State.STATE_FAILED)
        assert failed.serving_version == 0
        assert "none of its flavors (keras) can be loaded" in failed.message

        registry.promote("wine", 2, answering("good"))
        await watcher.serves(2)
        async with load(watcher, ROW) as requests:
            registry.promote("wine", 3, artifacts.add("default", broken))
            failed = await watcher.until(lambda d: d.state == State.STATE_FAILED)
            await asyncio.sleep(0.3)
        assert (failed.wanted_version, failed.serving_version) == (3, 2)
        assert requests.failures == []
        assert requests.answers[-1][1:] == (2, ["good"])

        registry.promote("wine", 4, answering("better"))
        await watcher.serves(4)
        assert (await watcher.history())[-6:-4] == ["starting 3", "failed 3"]


async def test_what_cannot_be_fetched_is_told(
    deploying: Any, artifacts: FakeArtifacts, registry: Registry, answering: Answering
) -> None:
    async with deploying(fetch_seconds=1.0) as watcher:

        async def fails(version: int, model_id: str) -> str:
            registry.promote("wine", version, model_id)
            return (
                await watcher.until(lambda d: d.state == State.STATE_FAILED and d.wanted_version == version)
            ).message

        assert "no model m-gone (NOT_FOUND)" in await fails(1, "m-gone")
        model_id = answering("x")
        artifacts.spoilt = {"model.py"}
        assert "model.py came with" in await fails(2, model_id)
        artifacts.spoilt = set()
        for path in ("../../outside", "/etc/cron.d/x", "a//b", "a\\b", "."):
            artifacts.renamed = {"model.py": path}
            assert "no plain relative path" in await fails(3, model_id)
            registry.promote("wine", 4, "m-gone")
            await watcher.until(lambda d: d.state == State.STATE_FAILED and d.wanted_version == 4)
        artifacts.renamed = {}
        artifacts.away = 1000
        assert "the store is away (UNAVAILABLE)" in await fails(5, model_id)
        artifacts.away = 2
        registry.promote("wine", 6, model_id)
        await watcher.serves(6)


async def test_an_instance_that_dies_is_started_again(
    deploying: Any, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    async with deploying() as watcher:
        registry.promote("wine", 1, answering("x"))
        await watcher.serves(1)
        (pid,) = processes(tmp_path)
        os.kill(pid, signal.SIGKILL)
        down = await watcher.until(lambda d: d.state == State.STATE_DEPLOYING)
        assert down.serving_version == 0
        assert "starting it again in 1 s" in down.message
        await watcher.routed(lambda r: not r.addresses)  # whoever asks now is to wait
        up = await watcher.serves(1)
        assert await _ask(up.instances[0].address) == ["x"]
        assert await watcher.history() == [
            *("promoted 1", "starting 1", "ready 1", "traffic moved 1", "died 1"),
            *("starting 1", "ready 1", "traffic moved 1"),
        ]


async def test_only_the_newest_promotion_matters(
    deploying: Any, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    async with deploying() as watcher:
        registry.promote("wine", 1, answering("one", loading=600))
        await watcher.until(lambda d: len(d.instances) == 1)
        registry.promote("wine", 2, answering("two"))
        await watcher.serves(2)  # nobody waited for the first
        assert "superseded 1" in await watcher.history()
        await asyncio.to_thread(eventually, lambda: len(processes(tmp_path)) == 1)


async def test_a_version_superseded_before_its_process_started_never_runs(
    deploying: Any, artifacts: FakeArtifacts, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    slow = answering("one", loading=600)
    artifacts.held = {slow}
    async with deploying() as watcher:
        registry.promote("wine", 1, slow)
        await watcher.until(lambda d: len(d.instances) == 1)
        registry.promote("wine", 2, answering("two"))
        await watcher.serves(2)
        assert "superseded 1" in await watcher.history()
        files = artifacts.downloads
        artifacts.held = set()
        await asyncio.to_thread(eventually, lambda: artifacts.downloads == 2 * files)  # now its process would start
        await asyncio.sleep(1.0)
        await asyncio.to_thread(eventually, lambda: len(processes(tmp_path)) == 1)


async def test_a_model_that_takes_too_long_is_given_up(
    deploying: Any, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    async with deploying(start_seconds=3.0) as watcher:
        registry.promote("wine", 1, answering("one", loading=600))
        late = await watcher.until(lambda d: d.state == State.STATE_FAILED)
        assert "did not answer within 3 s; HEADRACE_START_SECONDS sets the limit" in late.message
        await asyncio.to_thread(eventually, lambda: processes(tmp_path) == [])


async def test_stops_at_request_and_with_its_alias(
    deploying: Any, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    async with deploying() as watcher:
        model_id = answering("x")
        registry.promote("wine", 1, model_id)
        await watcher.serves(1)
        stopping = await watcher.stub.StopDeployment(pb.StopDeploymentRequest(name="wine"))
        assert stopping.deployment.wanted_version == 0
        stopped = await watcher.until(lambda d: d.state == State.STATE_STOPPED)
        assert "stopped by request" in stopped.message
        assert processes(tmp_path) == []
        assert watcher.route() is None

        registry.promote("wine", 1, model_id)
        await watcher.serves(1)
        registry.delete_alias("wine")
        stopped = await watcher.until(lambda d: d.state == State.STATE_STOPPED)
        assert "the alias production was deleted" in stopped.message
        assert (await watcher.history())[-3:] == ["stopping 1", "drained 1", "stopped 0"]


async def test_aliases_and_tenants_are_kept_apart(deploying: Any, registry: Registry, answering: Answering) -> None:
    async with deploying() as watcher:
        registry.promote("wine", 1, answering("a"))
        registry.promote("wine", 2, answering("b"), alias="champion")
        registry.promote("wine", 3, answering("c"), alias="staging")
        registry.promote("wine", 4, answering("d", "other"), tenant="other")
        await watcher.serves(1)
        await watcher.serves(2, "wine@champion")
        other = Watcher(watcher.channel, "other")
        assert await _ask((await other.serves(4)).instances[0].address) == ["d"]

        first = await watcher.stub.ListDeployments(pb.ListDeploymentsRequest(page_size=1))
        rest = await watcher.stub.ListDeployments(
            pb.ListDeploymentsRequest(page_size=1, page_token=first.next_page_token)
        )
        assert [d.name for page in (first, rest) for d in page.deployments] == ["wine", "wine@champion"]
        assert rest.next_page_token == ""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await other.get("wine@champion")
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        history = pb.ListDeploymentHistoryRequest(name="wine", page_size=2)
        page = await watcher.stub.ListDeploymentHistory(history)
        history.page_token = page.next_page_token
        assert [e.what for e in (await watcher.stub.ListDeploymentHistory(history)).entries] == ["starting", "promoted"]


async def test_stops_its_instances_and_starts_them_again(
    deploying: Any, registry: Registry, answering: Answering, tmp_path: Path
) -> None:
    async with deploying() as watcher:
        registry.promote("wine", 1, answering("x"))
        await watcher.serves(1)
        await watcher.routed(lambda r: r.version == 1)
        generation = watcher.tables[-1].generation
    assert processes(tmp_path) == []
    async with deploying(keep_instances_on_stop=True) as watcher:
        up = await watcher.serves(1)
        await watcher.routed(lambda _: watcher.tables[-1].generation > generation)
    (pid,) = processes(tmp_path)
    assert await _ask(up.instances[0].address) == ["x"]
    async with deploying() as watcher:
        await watcher.until(lambda d: d.state == State.STATE_SERVING)
        await asyncio.sleep(0.5)
        assert processes(tmp_path) == [pid]
        assert (await watcher.history())[-1] == "adopted 1"
        registry.promote("wine", 2, answering("y"))
        await watcher.serves(2)
        await watcher.until(lambda d: [i.state for i in d.instances][:2] == [READY, STOPPED])
        assert len(processes(tmp_path)) == 1


async def test_a_router_that_says_nothing_holds_a_change_up_for_five_seconds(
    deploying: Any, registry: Registry, answering: Answering
) -> None:
    async with deploying() as watcher, routing(Watcher(watcher.channel), acknowledge=False) as mute:
        registry.promote("wine", 1, answering("x"))
        await watcher.serves(1)
        registry.promote("wine", 2, answering("y"))
        await watcher.serves(2)
        moved = time.monotonic()
        await mute.routed(lambda r: r.version == 2)
        assert [i.state for i in (await watcher.get()).instances] == [READY, DRAINING]
        await watcher.until(lambda d: [i.state for i in d.instances] == [READY, STOPPED])
        assert time.monotonic() - moved > 4


async def test_models_get_no_secrets_and_have_limits(
    deploying: Any, artifacts: FakeArtifacts, registry: Registry, tmp_path: Path
) -> None:
    def confess(_frame: pd.DataFrame) -> Any:
        import os
        import resource

        return {
            "environ": dict(os.environ),
            "folder": os.getcwd(),  # noqa: PTH109 - pathlib would do it alike
            "memory": resource.getrlimit(resource.RLIMIT_DATA)[1],
            "session": os.getsid(0) == os.getpid(),
        }

    model_id = artifacts.add("default", callable_model(tmp_path / "m", confess, pd.DataFrame({"seconds": [0.0]})))
    async with deploying(model_memory_mb=2048) as watcher:
        registry.promote("wine", 1, model_id)
        (instance,) = (await watcher.serves(1)).instances
        said = await _ask(instance.address)
    home = str(tmp_path / "work/instances" / instance.instance_id)
    assert said["environ"].keys() <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "TMPDIR"}
    assert (said["environ"]["HOME"], said["folder"]) == (home, home)
    assert (said["memory"], said["session"]) == (2048 << 20, True)
    assert list((tmp_path / "work/instances").iterdir()) == []


async def test_tells_what_happens_on_the_bus(
    deploying: Any, database: str, registry: Registry, answering: Answering
) -> None:
    async with deploying() as watcher:
        registry.promote("wine", 1, answering("x"))
        await watcher.serves(1)
        registry.promote("wine", 2, "m-gone")
        await watcher.until(lambda d: d.state == State.STATE_FAILED)
        registry.delete_alias("wine")
        await watcher.until(lambda d: d.state == State.STATE_STOPPED)
    events = [(type(m).__name__, m.deployment.wanted_version, m.deployment.serving_version) for m in told(database)]
    assert events == [
        ("DeploymentStarted", 1, 0),
        ("DeploymentServing", 1, 1),
        ("DeploymentStarted", 2, 1),
        ("DeploymentFailed", 2, 1),
        ("DeploymentStopped", 0, 0),
    ]


async def _ask(address: str, seconds: float = 0.0, body: object = None) -> Any:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        rows = body or {"dataframe_records": [{"seconds": seconds}]}
        return (await http.post(f"http://{address}/invocations", json=rows)).json()["predictions"]
