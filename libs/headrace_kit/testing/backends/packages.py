"""Kafka, MinIO and VersityGW, built from the package registries into a cache that all checkouts share.

`${HEADRACE_CACHE:-${XDG_CACHE_HOME:-~/.cache}/headrace}/backends/<name>-<version>` appears whole or not at all, and
two runs that need it at the same time build it once. `deploy/images/` copies from there too.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace_kit.testing.backends.servers import BackendError

KAFKA_VERSION: Final = "4.1.2"
_SCALA: Final = "2.13"
_LOG4J_VERSION: Final = "2.24.3"  # the one Kafka 4.1 brings, here bound to slf4j, without which it logs nothing
MAVEN_DEPENDENCY_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_CLUSTER_ID: Final = "aGVhZHJhY2UtdGVzdC0xMQ"  # any 16 bytes in base64url
MINIO_VERSION: Final = "v0.0.0-20260212201848-7aac2a2c5b7c"  # upstream is archived: its last commit
VERSITYGW_VERSION: Final = "v1.8.0"


@dataclass(frozen=True)
class Tool:
    """A program that a package is built with or runs on."""

    name: str
    least: tuple[int, int]
    asks: tuple[str, ...]
    """The command that prints the version."""
    pattern: str
    """Finds major and minor in what it prints."""
    install: str
    """How people get it."""

    def missing(self) -> str:
        """Why it cannot be used; empty when it can."""
        if shutil.which(self.asks[0]) is None:
            return f"`{self.asks[0]}` is not on the PATH"
        done = subprocess.run(self.asks, capture_output=True, text=True, check=False)
        found = re.search(self.pattern, done.stdout + done.stderr)
        if done.returncode != 0 or found is None:
            return f"`{' '.join(self.asks)}` failed: {(done.stderr or done.stdout).strip()[:200]}"
        version = (int(found[1]), int(found[2] or 0))
        return "" if version >= self.least else f"found {version[0]}.{version[1]}"

    def needed(self, why: str) -> str:
        """Says what to install, and how."""
        return f"{self.name} {self.least[0]}.{self.least[1]} or later ({why}). {self.install}"


JAVA: Final = Tool(
    "Java",
    (17, 0),
    ("java", "-version"),
    r'version "(\d+)(?:\.(\d+))?',
    "Debian: apt-get install openjdk-17-jre-headless; Fedora: dnf install java-21-openjdk-headless; "
    "macOS: brew install openjdk@21, and put its bin folder on the PATH",
)
MAVEN: Final = Tool(
    "Maven",
    (3, 6),
    ("mvn", "--batch-mode", "--version"),
    r"Apache Maven (\d+)\.(\d+)",
    "Debian: apt-get install maven; Fedora: dnf install maven; macOS: brew install maven",
)
GO: Final = Tool(
    "Go",
    (1, 25),
    ("go", "version"),
    r"go(\d+)\.(\d+)",
    "Debian 13 with backports: apt-get install -t trixie-backports golang-go; Fedora: dnf install golang; "
    "macOS: brew install go; anywhere: the archive from https://go.dev/dl unpacked, its bin folder on the PATH",
)


@dataclass(frozen=True)
class Package:
    """Something that is built once on a machine."""

    name: str
    version: str
    tools: tuple[Tool, ...]
    """What building needs."""
    runs_on: tuple[Tool, ...]
    """What running needs."""
    build: Callable[[Path], None]
    """Fills an empty folder; raises `BackendError`."""

    cache: Path | None = None
    """Where all packages are; `cache_folder` unless told."""

    @property
    def folder(self) -> Path:
        """Where it is, once installed."""
        return (self.cache or cache_folder()) / f"{self.name}-{self.version}"

    def missing(self) -> list[tuple[Tool, str]]:
        """What it cannot be built or, when it is installed, run without, and why."""
        tools = self.runs_on if self.folder.exists() else self.tools
        return [(tool, why) for tool in tools if (why := tool.missing())]

    def install(self, say: Callable[[str], None]) -> Path:
        """Builds it unless it is there, and returns its folder. Raises `BackendError`.

        Waits for another process that builds it; `say` gets a line when work begins.
        """
        folder = self.folder
        if missing := self.missing():
            needs = "\n".join(f"  {tool.needed(why)}" for tool, why in missing)
            raise BackendError(f"{self.name} {self.version} cannot be installed or run without:\n{needs}")
        if folder.exists():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                say(f"installing {self.name} {self.version} into {folder} (once on this machine)")
                new = folder.with_name(f"{folder.name}.new")
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()
                self.build(new)
                new.rename(folder)
        return folder


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where installed packages are."""
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
    return Path(environ.get("HEADRACE_CACHE") or Path(base) / "headrace").absolute() / "backends"


def say(line: str) -> None:
    """A line of progress, for people and logs, beside whatever stdout is for."""
    print(f"headrace backends: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the console of a command


def kafka_command(home: Path) -> list[str]:
    """The start of every Kafka command line; the class and its arguments follow."""
    return ["java", "-Xmx512m", f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}", "-cp", f"{home}/libs/*"]


def kafka_settings(*, log_dirs: Path, listeners: str, advertised: str, controller: str) -> str:
    """The server.properties of a lone broker that is its own controller.

    A broker that was killed is let in again when its old session has ended: 3 s here, 9 s by default.
    """
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
controller.listener.names=CONTROLLER
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={log_dirs}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""


_POM: Final = f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>headrace</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_{_SCALA}</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{_LOG4J_VERSION}</version></dependency>
  </dependencies>
</project>
"""

_LOG4J: Final = """\
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1} %m%n
"""


def _build_kafka(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM)
    (folder / "log4j2.properties").write_text(_LOG4J)
    copy = [
        f"{MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder / 'libs'}",
    ]
    _run(["mvn", "--batch-mode", "--quiet", "--file", str(folder / "pom.xml"), *copy], {})
    # A formatted folder is the same for every lone broker: kept, it saves each new one a second of Java.
    here = "127.0.0.1:9093"
    settings = kafka_settings(
        log_dirs=folder / "formatted", listeners=f"PLAINTEXT://127.0.0.1:9092,CONTROLLER://{here}", advertised="PLAINTEXT://127.0.0.1:9092", controller=here
    )  # fmt: skip
    (folder / "format.properties").write_text(settings)
    arguments = ["format", "--cluster-id", _CLUSTER_ID, "--config", str(folder / "format.properties")]
    _run([*kafka_command(folder), "kafka.tools.StorageTool", *arguments], {})
    (folder / "format.properties").unlink()


def _go_program(module: str, version: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        # A module cache that rm can remove: a test's HOME is often a temporary folder.
        flags = f"{os.environ.get('GOFLAGS', '')} -modcacherw -trimpath".strip()
        # No network, no user: a program without libc, which runs in an empty image too.
        environment = {"GOBIN": str(folder), "GOFLAGS": flags, "CGO_ENABLED": "0"}
        _run(["go", "install", "-ldflags=-s -w", f"{module}@{version}"], environment)

    return build


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )  # fmt: skip
    if done.returncode != 0:
        raise BackendError(f"`{' '.join(command)}` failed:\n{done.stdout[-3000:]}")


KAFKA: Final = Package("kafka", KAFKA_VERSION, (JAVA, MAVEN), (JAVA,), _build_kafka)
MINIO: Final = Package("minio", MINIO_VERSION, (GO,), (), _go_program("github.com/minio/minio", MINIO_VERSION))
VERSITYGW: Final = Package(
    "versitygw",
    VERSITYGW_VERSION,
    (GO,),
    (),
    _go_program("github.com/versity/versitygw/cmd/versitygw", VERSITYGW_VERSION),
)
