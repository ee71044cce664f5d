"""A model that MLflow's unmodified client logs and promotes is served, and replaced without a failed request."""

import os
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest

import headrace as hr
from fix_platform import Platform, up

_PROGRAM: Final = Path(__file__).with_name("mlflow_promoter.py")
_ROWS: Final = {"dataframe_split": {"columns": ["acid", "year"], "data": [[0.1, 1.0], [0.9, 2.0]]}}
_PATIENCE_S: Final = 90


@dataclass
class Promoter:
    """The client's process."""

    process: "subprocess.Popen[str]"

    def promote(self) -> None:
        """Lets it move the alias to the version that it has logged."""
        self.until("LOGGED")
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.until("PROMOTED")

    def until(self, word: str) -> None:
        """Waits until it says so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return
        raise AssertionError(f"it ended with {self.process.wait()} before it said {word}")


@contextmanager
def promoter(python: Path, uri: str, name: str, kind: str, versions: int) -> Iterator[Promoter]:
    """Logs and promotes so many versions of a model."""
    environ = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        [str(python), str(_PROGRAM), name, kind, str(versions)],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Promoter(process)
        finally:
            process.kill()


@dataclass
class Callers:
    """Some who keep asking until they are told to stop, and write down what they were answered."""

    url: str
    answers: list[tuple[str, list[int]]] = field(default_factory=list)
    """Version, and what it said."""
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def asking(self) -> Iterator["Callers"]:
        """Two of them."""
        over = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(over,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def until(self, version: str) -> None:
        """Waits until this version answers."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.answers or self.answers[-1][0] != version:
            assert time.monotonic() < deadline, (self.answers[-3:], self.failures[:3])
            time.sleep(0.02)

    def _ask(self, over: threading.Event) -> None:
        with httpx.Client(timeout=30) as http:
            while not over.wait(0.005):
                try:
                    answer = http.post(self.url, json=_ROWS).raise_for_status()
                    self.answers.append((answer.headers["x-headrace-model-version"], answer.json()["predictions"]))
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))


@pytest.mark.parametrize("kind", ["cloudpickle", "pyfunc"])
def test_moving_an_alias_fails_no_request(platform: Platform, mlflow_python: Path, kind: str) -> None:
    name = f"{kind}-{secrets.token_hex(4)}"
    with (
        promoter(mlflow_python, platform.uri, name, kind, 2) as client,
        hr.Client(platform.uri) as ours,
        Callers(f"{platform.uri}/serving/{name}/invocations").asking() as callers,
    ):
        client.promote()
        ours.deployments.wait(name, 1, timeout=_PATIENCE_S)
        callers.until("1")
        callers.failures.clear()  # before the first version there was nothing to ask
        client.promote()
        callers.until("2")
        assert client.process.wait(60) == 0
    assert not callers.failures
    assert {(version, tuple(said)) for version, said in callers.answers} == {("1", (1, 1)), ("2", (2, 2))}


def test_where_code_is_not_allowed_a_pickle_is_refused_and_the_version_before_serves_on(
    mlflow_python: Path, tmp_path: Path
) -> None:
    with up(tmp_path / "data", {"HEADRACE_ALLOW_MODEL_CODE": "false"}) as uri, hr.Client(uri) as ours:
        with promoter(mlflow_python, uri, "guarded", "skops", 1) as client:
            client.promote()
        ours.deployments.wait("guarded", 1, timeout=_PATIENCE_S)
        for kind, told in (
            ("cloudpickle", r"is a pickle \(cloudpickle\)"),
            ("pyfunc", "loaded by mlflow.pyfunc.model"),
        ):
            with promoter(mlflow_python, uri, f"guarded-{kind}", kind, 1) as client:
                client.promote()
            with pytest.raises(hr.errors.WrongState, match=rf"{told}.*HEADRACE_ALLOW_MODEL_CODE=true"):
                ours.deployments.wait(f"guarded-{kind}", 1, timeout=_PATIENCE_S)
        pickled = ours.registry.get_version("guarded-cloudpickle", 1)
        second = ours.registry.register_model(pickled.model_id, "guarded")
        ours.registry.promote("guarded", second.version)
        with pytest.raises(hr.errors.WrongState, match="is a pickle"):
            ours.deployments.wait("guarded", second.version, timeout=_PATIENCE_S)
        answer = httpx.post(f"{uri}/serving/guarded/invocations", json=_ROWS)
        assert (answer.headers["x-headrace-model-version"], answer.json()) == ("1", {"predictions": [1, 1]})
