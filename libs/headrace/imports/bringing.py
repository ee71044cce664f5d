"""Brings all that a source has: in the order in which things depend on one another, then reads it back."""

import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from headrace import errors
from headrace.client import Client
from headrace.imports.parallel import spread
from headrace.imports.progress import READING
from headrace.imports.report import Report
from headrace.imports.seen import Seen
from headrace.imports.source import SourceExperiment, SourceModel, SourceRegisteredModel, SourceRun
from headrace.imports.target import Target

JOBS: Final = 4
_REFUSED: Final = (errors.InvalidRequest, errors.WrongState, errors.AlreadyExists, errors.NotFound, errors.DataLost)

T = TypeVar("T")
Tell = Callable[[str, Report], None]
"""What was done just now, and what all has come to."""


class Source(Protocol):
    """Where things come from. What it yields is read by several threads at a time, each thing by one."""

    def experiments(self) -> Iterable[SourceExperiment]:
        """Those whose runs come, as far as more than their names is known of them."""
        ...

    def runs(self) -> Iterable[SourceRun]:
        """Each once."""
        ...

    def models(self) -> Iterable[SourceModel]:
        """Logged models."""
        ...

    def registered(self) -> Iterable[SourceRegisteredModel]:
        """Registered models."""
        ...


class RunsAlone:
    """A source of runs, and of nothing else."""

    def __init__(self, runs: Iterable[SourceRun]) -> None:
        self._runs = runs

    def experiments(self) -> Iterable[SourceExperiment]:
        """None: their names are all that is known."""
        return ()

    def runs(self) -> Iterable[SourceRun]:
        """Those given."""
        return self._runs

    def models(self) -> Iterable[SourceModel]:
        """None."""
        return ()

    def registered(self) -> Iterable[SourceRegisteredModel]:
        """None."""
        return ()


class Bringing:
    """Round after round, from one source to one Headrace."""

    def __init__(self, client: Client, *, jobs: int = JOBS, tell: Tell | None = None, seen: Seen | None = None) -> None:
        self.report: Final = Report()
        self._target = Target(client, self.report, seen)
        self._jobs = jobs
        self._tell = tell or (lambda _what, _report: None)

    def round(self, source: Source) -> None:
        """Brings all, and reads back what both sides have then. May be interrupted anywhere and repeated.

        What the server refuses is in the report; raises HeadraceError where it is away, and what the source raises.
        """
        target, jobs = self._target, self._jobs
        self.report.failures.clear()
        self.report.left_out.clear()
        spread(source.experiments(), self._put("experiment", lambda one: repr(one.name), target.put_experiment), 1)
        spread(source.runs(), self._put("run", lambda one: one.run_id, target.put_run), jobs)
        spread(source.models(), self._put("logged model", lambda one: one.model_id, target.put_model), jobs)
        spread(source.registered(), self._put("model", lambda one: repr(one.name), target.put_registered), jobs)
        target.finish()
        self._tell(READING, self.report)
        target.read_back(jobs)

    def _put(self, what: str, name: Callable[[T], str], work: Callable[[T], object]) -> Callable[[T], None]:
        def one(item: T) -> None:
            try:
                work(item)
            except _REFUSED as error:
                self.report.fail(f"{what} {name(item)}", error)
            self._tell(what, self.report)

        return one


def bring(
    source: Source, client: Client, *, jobs: int = JOBS, tell: Tell | None = None, seen: Seen | None = None
) -> Report:
    """One round."""
    bringing = Bringing(client, jobs=jobs, tell=tell, seen=seen)
    bringing.round(source)
    return bringing.report


def follow(bringing: Bringing, source: Callable[[], Source], *, every_s: float, stopping: threading.Event) -> None:
    """Round after round until `stopping`, from a source that is looked at anew each time; the round under way is done.

    A source that is away is asked again in the next round. After KeyboardInterrupt a round may be half done: what is
    there then is there.
    """
    try:
        while True:
            try:
                bringing.round(source())
            except errors.Unavailable as error:
                bringing.report.note(f"was away for a while: {error}")
            if stopping.wait(every_s):
                return
    except KeyboardInterrupt:
        return
