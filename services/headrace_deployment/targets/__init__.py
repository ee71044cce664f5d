"""Where instances run: the port, with one adapter for processes of this machine; a cluster's will be another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """What to start."""

    instance_id: str
    model_folder: Path
    version_label: str


class TargetError(Exception):
    """The target could not do what was asked; the message says why."""


class Target(Protocol):
    """Starts and ends instances, which outlive the process that started them. From any thread; no call waits long."""

    def prepare(self) -> None:
        """A start is likely soon: makes ready what does not depend on the model. Never raises."""
        ...

    def reserve(self) -> str:
        """The instance id of the next start."""
        ...

    def start(self, spec: InstanceSpec) -> None:
        """Starts the instance; it loads its model on its own. Raises TargetError."""
        ...

    def address(self, instance_id: str) -> str | None:
        """host:port, once the instance says that it listens."""
        ...

    def is_alive(self, instance_id: str) -> bool:
        """Whether it runs. False for one that nobody knows."""
        ...

    def last_words(self, instance_id: str) -> str:
        """The end of what it wrote on stderr; empty where nothing is known."""
        ...

    def stop(self, instance_id: str) -> None:
        """Asks it to finish what it does and end."""
        ...

    def kill(self, instance_id: str) -> None:
        """Ends it at once, with all it started."""
        ...

    def forget(self, instance_id: str) -> None:
        """Frees what is left of one that has ended."""
        ...

    def adopt(self) -> frozenset[str]:
        """Finds the instances that an earlier process of ours left running; frees what is left of others."""
        ...

    def close(self, *, keep_instances: bool) -> None:
        """Ends what `prepare` made, and kills the instances that still run unless they are to go on."""
        ...
