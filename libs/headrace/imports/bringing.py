"""Brings all that a source has: in the order in which things depend on one another, then reads it back."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from headrace import errors
from headrace.client import Client
from headrace.imports.parallel import spread
from headrace.imports.report import Report
from headrace.imports.source import SourceExperiment, SourceModel, SourceRegisteredModel, SourceRun
from headrace.imports.target import Target

JOBS: Final = 4
_REFUSED: Final = (errors.InvalidRequest, errors.WrongState, errors.AlreadyExists, errors.NotFound, errors.DataLost)

T = TypeVar("T")


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


def bring(
    source: Source, client: Client, *, jobs: int = JOBS, tell: Callable[[str, Report], None] | None = None
) -> Report:
    """Brings all, and says what both sides have then; `tell` hears of each thing when it is there.

    May be interrupted anywhere and repeated. What the server refuses is in the report; raises HeadraceError where it is
    away, and what the source raises.
    """
    report = Report()
    target = Target(client, report)

    def put(what: str, name: Callable[[T], str], work: Callable[[T], object]) -> Callable[[T], None]:
        def one(item: T) -> None:
            try:
                work(item)
            except _REFUSED as error:
                report.fail(f"{what} {name(item)}", error)
            if tell is not None:
                tell(what, report)

        return one

    spread(source.experiments(), put("experiment", lambda one: repr(one.name), target.put_experiment), 1)
    spread(source.runs(), put("run", lambda one: one.run_id, target.put_run), jobs)
    spread(source.models(), put("logged model", lambda one: one.model_id, target.put_model), jobs)
    spread(source.registered(), put("model", lambda one: repr(one.name), target.put_registered), jobs)
    target.finish()
    target.read_back(jobs)
    return report


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
