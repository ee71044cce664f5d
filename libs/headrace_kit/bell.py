"""Lets a thread wait for PostgreSQL's notifications and for its own process at the same time."""

import select
import socket
from collections.abc import Sequence
from contextlib import suppress

import psycopg


class Bell:
    """Wakes a thread that waits for a connection of the database. Enter it before waiting."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> None:
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def __exit__(self, *_: object) -> None:
        for end in self._ends or ():
            end.close()

    def ring(self) -> None:
        """From any thread; never blocks."""
        if self._ends is not None:
            with suppress(OSError):  # it rings already, or is closed
                self._ends[1].send(b".")

    def wait(self, connection: int, seconds: float) -> None:
        """Until it rings, or something comes on the connection, or so long."""
        if self._ends is not None:
            hear = self._ends[0]
            poll = select.poll()  # which, unlike select, takes handles of any number
            poll.register(hear, select.POLLIN)
            poll.register(connection, select.POLLIN)
            if any(handle == hear.fileno() for handle, _ in poll.poll(seconds * 1_000)):
                hear.recv(4096)

    def notes(self, conn: psycopg.Connection, seconds: float) -> Sequence[psycopg.Notify]:
        """Waits so for what is notified: returns as soon as something is, or with nothing when it rings or time is up."""
        came = list(conn.notifies(timeout=0))  # with answers
        if not came:
            self.wait(conn.fileno(), seconds)
            came = list(conn.notifies(timeout=0))
        return came
