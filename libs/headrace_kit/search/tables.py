"""How the fields of a kind of row stand in the database, and the parameters of a statement over them.

Statements are put together of LiteralString, which the type checkers follow: nothing that a caller wrote can come into
one but as a parameter. psycopg's own pieces (`psycopg.sql`) took 5 ms a search.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString, cast
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Column:
    """An attribute: its SQL, and its type there."""

    expression: LiteralString
    type: LiteralString
    text: LiteralString = ""
    """As text with the database's own collation, for LIKE and ILIKE; empty for numbers."""
    convert: Callable[[str], str | int | UUID | None] = str
    """A text of a filter as a value of the type; None for what no row can have."""
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of row that can be searched."""

    source: LiteralString
    alias: LiteralString
    id: LiteralString
    columns: dict[str, Column]
    ties: tuple[tuple[str, bool], ...]
    """Columns that order what is otherwise equal, each with "descending"; the last is unique."""
    values: LiteralString = ""
    """A table of the values of its metrics, each with the id of its row; empty where there are none."""
    value: LiteralString = ""
    """As `values`, and of each metric one at most."""
    inputs: LiteralString = ""
    """A table of the datasets of its rows, each with the id of its row; empty where there are none."""
    indexed: bool = False
    """Whether indexes have its rows by token, by time and by metric, an experiment each."""
    fence: LiteralString = ""
    """Ends the subqueries of conditions. With " OFFSET 0" each is made for one row after the other: right for few."""


def uuid(text: str) -> UUID | None:
    """Of 32 hexadecimal digits."""
    try:
        return UUID(text) if len(text) == 32 else None
    except ValueError:
        return None


def integer(text: str) -> int | None:
    """Of digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


DATASETS: Final[dict[str, LiteralString]] = {
    "name": 'i.name COLLATE "default"',
    "digest": 'i.digest COLLATE "default"',
    "context": "(i.tags ->> 'mlflow.data.context')",
}


def numbered(name: LiteralString, number: int) -> LiteralString:
    """The name with the number behind it."""
    return cast("LiteralString", f"{name}{number}")  # type: ignore[redundant-cast]  # mypy takes it for str; digits alone come in


class Scope:
    """What a search may see, and the parameters of its statement.

    `experiment_ids` holds runs to these experiments; None leaves them out.
    """

    def __init__(self, tenant_id: str, experiment_ids: Sequence[int] | None = None) -> None:
        self.parameters: dict[str, object] = {"tenant": tenant_id}
        self.experiment_ids = experiment_ids or ()
        self._experiment: LiteralString = ""
        if experiment_ids is not None and len(experiment_ids) == 1:
            # The usual case; and only "=" lets an index over (experiment, ...) give rows in its order.
            self.parameters["experiment"] = experiment_ids[0]
            self._experiment = "%(experiment)s::bigint"
        elif experiment_ids is not None:
            self.parameters["experiment"] = list(experiment_ids)
            self._experiment = "ANY(%(experiment)s::bigint[])"

    def bind(self, value: object, kind: LiteralString) -> LiteralString:
        """A new parameter with this value, as this type of PostgreSQL."""
        name = numbered("p", len(self.parameters))
        self.parameters[name] = value
        return f"%({name})s::{kind}"

    def holds(self, alias: LiteralString) -> LiteralString:
        """The condition that holds a table of this alias to the scope."""
        owned: LiteralString = f"{alias}.tenant_id = %(tenant)s::text"
        return f"{owned} AND {alias}.experiment_id = {self._experiment}" if self._experiment else owned
