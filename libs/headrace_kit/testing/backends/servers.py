"""What a backend is to a test: an address, and a server that may be ill-treated."""

from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

Name = Literal["postgres", "kafka", "s3", "s3_other"]
"""The backends there are; `s3_other` is a second S3 store of another make, so that code keeps to the S3 API."""

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)


class BackendError(Exception):
    """A backend cannot be had or does not start; the message says what to do."""


@dataclass(frozen=True)
class S3Address:
    """Where an S3 store answers, and how to be let in."""

    endpoint: str
    """host:port, without a scheme."""
    access_key: str
    secret_key: str = field(repr=False)
    secure: bool = False
    """Over TLS."""

    @property
    def url(self) -> str:
        """With the scheme."""
        return f"{'https' if self.secure else 'http'}://{self.endpoint}"


class Server(Protocol[A_co]):
    """A backend and what faults can be done to it. The address and the data outlive `stop` and `kill`.

    `launch` and `wait_ready` are the two halves of `start`, so that several servers can start at the same time.
    All but `launch` of a server that runs already are harmless in any state. They raise `BackendError`.
    """

    @property
    def address(self) -> A_co:
        """Where clients find it."""
        ...

    @property
    def pid(self) -> int | None:
        """Its process on this machine, while it runs."""
        ...

    def launch(self) -> None:
        """Starts it; call from a thread that lives as long as the server should."""
        ...

    def wait_ready(self) -> None:
        """Returns when it answers."""
        ...

    def start(self) -> None:
        """Launches it and waits until it answers."""
        ...

    def stop(self) -> None:
        """Ends it in good order, a paused one too, and waits."""
        ...

    def kill(self) -> None:
        """Ends it at once, as kill -9 does."""
        ...

    def pause(self) -> None:
        """Freezes it: connections stay open, nothing answers."""
        ...

    def resume(self) -> None:
        """Ends the pause."""
        ...


class Given(Generic[A]):
    """A server that the environment named: not ours to stop."""

    def __init__(self, address: A, variable: str) -> None:
        self.address = address
        self.pid: int | None = None
        self._variable = variable

    def launch(self) -> None:
        """It runs already."""

    def wait_ready(self) -> None:
        """It runs already."""

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        """It runs on."""

    def kill(self) -> None:
        """Refused, as are `pause` and `resume`."""
        raise BackendError(
            f"the server that {self._variable} names is not this run's to stop; a test of faults needs one of its own: "
            'open_backends({...}, environ={"HEADRACE_TEST_BACKENDS": "local"})'
        )

    pause = kill
    resume = kill
