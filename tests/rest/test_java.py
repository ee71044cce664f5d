"""MLflow's own unmodified client for Java against Headrace."""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from fix_mlflow import Name, Rest
from headrace_kit.testing.backends import packages

_VERSION: Final = "2.17.2"  # the newest that Maven Central has
_POM: Final = f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>headrace</groupId><artifactId>mlflow-java</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.mlflow</groupId><artifactId>mlflow-client</artifactId><version>{_VERSION}</version></dependency>
  </dependencies>
</project>
"""
_JDK: Final = packages.Tool(
    "A JDK",
    (17, 0),
    ("javac", "-version"),
    r"javac (\d+)(?:\.(\d+))?",
    "Debian: apt-get install openjdk-17-jdk-headless",
)


def _build(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM)
    copy = f"{packages.MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies"
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(folder / "pom.xml"), copy]
    subprocess.run([*command, f"-DoutputDirectory={folder / 'libs'}"], check=True)


@pytest.mark.timeout(300)
def test_the_java_client(servers: dict[Name, Rest], mlflow_python: Path, tmp_path: Path) -> None:
    package = packages.Package("mlflow-java", _VERSION, (_JDK, packages.MAVEN), (_JDK,), _build)
    libs = package.install(packages.say) / "libs"
    source = Path(__file__).with_name("JavaClient.java")
    subprocess.run(["javac", "-cp", f"{libs}/*", "-d", str(tmp_path), str(source)], check=True)
    done = subprocess.run(
        ["java", "-cp", f"{tmp_path}:{libs}/*", "JavaClient", servers["headrace"].uri],
        # Its artifacts go by MLflow's Python client.
        env={**os.environ, "MLFLOW_PYTHON_EXECUTABLE": str(mlflow_python), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["done"], f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
