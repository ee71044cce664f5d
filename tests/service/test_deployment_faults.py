"""kill -9 of the deployment service: models go on answering, and are its own again when it comes back."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from fix_deployment import FakeArtifacts, Watcher, fake_artifacts, fake_registry, load, routing
from fix_platform import ServiceProcess
from fix_services import SECRET
from fix_serving import eventually
from headrace.api.deployment.v1 import deployment_pb2
from headrace.models import save_callable
from headrace_deployment.targets import InstanceSpec
from headrace_deployment.targets.local import LocalTarget
from headrace_kit import rpc
from headrace_kit.testing.backends.processes import free_port

ROW = {"dataframe_records": [{"seconds": 0.0}]}
State = deployment_pb2.Deployment.State


@pytest.fixture
def artifacts() -> Iterator[FakeArtifacts]:
    with fake_artifacts() as fake:
        yield fake


def model(folder: Path, answer: str) -> Path:
    source = folder.with_suffix(".py")
    source.write_text(f"def predict(frame):\n    return [{answer!r}]\n")
    save_callable(source, folder, input_example=pd.DataFrame({"seconds": [0.0]}))
    return folder


@contextmanager
def service(database: str, artifacts: FakeArtifacts, folder: Path) -> Iterator[ServiceProcess]:
    """`python -m headrace_deployment`, killed at the end with whatever it started."""
    address = f"127.0.0.1:{free_port()}"
    environ = {
        "HEADRACE_LISTEN": address,
        "HEADRACE_DATABASE": database,
        "HEADRACE_ARTIFACTS": artifacts.address,
        "HEADRACE_WORK_DIR": str(folder / "work"),
        "HEADRACE_SERVICE_SECRET": SECRET,
        "HEADRACE_AUTH": "open",
        "HEADRACE_ALLOW_MODEL_CODE": "true",
        "HEADRACE_STANDBY_INSTANCE": "false",
    }
    process = ServiceProcess("deployment", environ, folder / "deployment.log")
    process.start()
    try:
        process.wait()
        yield process
    finally:
        assert process.stop() == 0
        assert instances(folder) == {}


def instances(folder: Path) -> dict[str, int]:
    """Instance → pid, of all model processes of this test."""
    listed = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listed.splitlines() if f"--instance-dir {folder}/work/instances/" in line]
    return {Path(words[words.index("--instance-dir") + 1]).name: int(words[0]) for words in found}


async def test_models_outlive_the_service_and_are_adopted(
    database: str, artifacts: FakeArtifacts, tmp_path: Path
) -> None:
    with fake_registry(database) as registry, service(database, artifacts, tmp_path) as process:
        channel = rpc.channel(process.environ["HEADRACE_LISTEN"])
        async with channel, routing(Watcher(channel)) as watcher:
            for name in ("wine", "bread", "milk"):
                registry.promote(name, 1, artifacts.add("default", model(tmp_path / name, name)))
                await watcher.serves(1, name)
            addresses = {n: (await watcher.get(n)).instances[0].address for n in ("wine", "bread", "milk")}
            by_id = {n: (await watcher.get(n)).instances[0].instance_id for n in ("wine", "bread", "milk")}
            before = instances(tmp_path)
            generation = watcher.tables[-1].generation

            async with load(watcher, ROW) as requests:
                await asyncio.to_thread(process.kill)
                os.kill(before[by_id["bread"]], signal.SIGKILL)
                os.kill(before[by_id["milk"]], signal.SIGSTOP)  # alive, and answers nobody
                stranger = stranded(tmp_path)
                await asyncio.sleep(1)
                process.start()
                await asyncio.to_thread(process.wait)
                await watcher.until(lambda d: d.instances[0].instance_id != by_id["bread"], "bread")
                await watcher.serves(1, "bread")
                await watcher.until(lambda d: d.instances[0].instance_id != by_id["milk"], "milk")
                await watcher.serves(1, "milk")
            assert requests.failures == []
            assert len(requests.answers) > 100

            assert (await watcher.get()).instances[0].address == addresses["wine"]
            after = instances(tmp_path)
            assert after[by_id["wine"]] == before[by_id["wine"]]
            assert stranger not in after
            assert len(after) == 3
            assert (await watcher.history())[-1] == "adopted 1"
            assert "died 1" in await watcher.history("bread")
            assert watcher.tables[-1].generation > generation

            registry.promote("wine", 2, artifacts.add("default", model(tmp_path / "wine-2", "more")))
            await watcher.serves(2)
            await asyncio.to_thread(eventually, lambda: before[by_id["wine"]] not in instances(tmp_path).values())


@pytest.mark.parametrize("moment", [0.0, 0.15, 0.4, 1.0])
async def test_a_kill_at_any_moment_of_a_change_leaves_it_to_be_finished(
    database: str, artifacts: FakeArtifacts, tmp_path: Path, moment: float
) -> None:
    with fake_registry(database) as registry, service(database, artifacts, tmp_path) as process:
        channel = rpc.channel(process.environ["HEADRACE_LISTEN"])
        async with channel, routing(Watcher(channel)) as watcher:
            registry.promote("wine", 1, artifacts.add("default", model(tmp_path / "one", "old")))
            await watcher.serves(1)
            async with load(watcher, ROW) as requests:
                registry.promote("wine", 2, artifacts.add("default", model(tmp_path / "two", "new")))
                await asyncio.sleep(moment)
                await asyncio.to_thread(process.kill)
                process.start()
                await asyncio.to_thread(process.wait)
                await watcher.serves(2)
                await asyncio.to_thread(eventually, lambda: len(instances(tmp_path)) == 1)
                await watcher.routed(lambda r: r.version == 2)
                await asyncio.sleep(0.5)
            assert requests.failures == []
            assert requests.answers[-1][1:] == (2, ["new"])


def stranded(folder: Path) -> str:
    """A model process of ours that no row knows: what a kill between start and commit could leave."""
    target = target_of(folder)
    target.start(InstanceSpec("f" * 32, folder / "wine", "1"))
    return "f" * 32


def target_of(folder: Path) -> LocalTarget:
    return LocalTarget(folder / "work/instances", ["--allow-code"], environ=os.environ, standby=False)


def test_local_target_knows_its_processes_again_and_no_others(tmp_path: Path) -> None:
    target = target_of(tmp_path)
    assert target.adopt() == frozenset()
    instance = target.reserve()
    target.start(InstanceSpec(instance, model(tmp_path / "wine", "x"), "1"))
    eventually(lambda: target.address(instance))
    assert target.is_alive(instance)

    other = target_of(tmp_path)
    assert not other.is_alive(instance)
    assert other.adopt() == {instance}
    assert other.address(instance) == target.address(instance)
    elsewhere = target_of(tmp_path / "else")
    assert elsewhere.adopt() == frozenset()

    other.stop(instance)
    eventually(lambda: not target.is_alive(instance))
    assert not other.is_alive(instance)
    assert "Shutting down" in target.last_words(instance)
    for one in (target, other):
        one.kill(instance)
        one.forget(instance)
    assert target.last_words(instance) == ""
    assert list((tmp_path / "work/instances").iterdir()) == []


def test_local_target_uses_its_standby_once(tmp_path: Path) -> None:
    target = LocalTarget(tmp_path / "work/instances", ["--allow-code"], environ=os.environ, standby=True)
    target.adopt()
    target.prepare()
    target.prepare()
    (waiting,) = instances(tmp_path)
    assert target.adopt() == frozenset()
    assert target.reserve() == waiting
    assert target.reserve() != waiting
    target.start(InstanceSpec(waiting, model(tmp_path / "wine", "x"), "1"))
    eventually(lambda: target.address(waiting))
    target.prepare()
    assert len(instances(tmp_path)) == 2
    target.close(keep_instances=True)
    assert list(instances(tmp_path)) == [waiting]
    target.kill(waiting)
    eventually(lambda: not target.is_alive(waiting))
    target.forget(waiting)


def test_local_target_ends_what_its_instance_started(tmp_path: Path) -> None:
    source = tmp_path / "breeder.py"
    source.write_text(
        "import subprocess, sys\nchild = subprocess.Popen(['sleep', '300'])\n"
        "def predict(frame):\n    return [child.pid]\n"
    )
    save_callable(source, tmp_path / "m")
    target = target_of(tmp_path)
    target.adopt()
    target.start(InstanceSpec("a" * 32, tmp_path / "m", "1"))
    eventually(lambda: target.address("a" * 32))
    pid = _child(instances(tmp_path)["a" * 32])
    target.kill("a" * 32)
    eventually(lambda: not Path(f"/proc/{pid}").exists())
    eventually(lambda: not target.is_alive("a" * 32))
    target.forget("a" * 32)


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
