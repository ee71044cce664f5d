"""Datasets, and which run used which."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from headrace_kit.db import Connection

DatasetKey = tuple[int, str, str]
"""Experiment, name, digest."""


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A row of `datasets`."""

    experiment_id: int
    name: str
    digest: str
    source_type: str
    source: str
    schema: str
    profile: str

    @property
    def key(self) -> DatasetKey:
        """What tells it from others of the tenant."""
        return self.experiment_id, self.name, self.digest


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row of `run_inputs`, with the bytes that it takes together with its dataset."""

    run_id: UUID
    experiment_id: int
    name: str
    digest: str
    tags: dict[str, str]
    size: int

    @property
    def dataset_key(self) -> DatasetKey:
        """The dataset used."""
        return self.experiment_id, self.name, self.digest


class UsedAs(NamedTuple):
    """A dataset and what runs used it for; empty where they do not say."""

    experiment_id: int
    name: str
    digest: str
    context: str


async def insert_datasets(conn: Connection, tenant_id: str, rows: Sequence[DatasetRow]) -> None:
    """Keeps what is new; a dataset that is known stays as it is."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO tracking.datasets"
            " (tenant_id, experiment_id, name, digest, source_type, source, schema, profile)"
            " VALUES (%(tenant)s, %(experiment_id)s, %(name)s, %(digest)s, %(source_type)s, %(source)s, %(schema)s,"
            " %(profile)s) ON CONFLICT DO NOTHING",
            # In one order everywhere, so that two transactions with the same datasets do not wait for each other.
            [asdict(row) | {"tenant": tenant_id} for row in sorted(rows, key=lambda row: row.key)],
        )


async def upsert(
    conn: Connection, tenant_id: str, run_id: UUID, inputs: Mapping[DatasetKey, Mapping[str, str]]
) -> None:
    """Notes that a run used these datasets; tags are added to the ones that it had for them."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO tracking.run_inputs AS i (tenant_id, run_id, experiment_id, name, digest, tags)"
            " VALUES (%(tenant)s, %(run)s, %(experiment)s, %(name)s, %(digest)s, %(tags)s)"
            " ON CONFLICT (tenant_id, run_id, name, digest) DO UPDATE SET tags = i.tags || excluded.tags",
            [
                {
                    "tenant": tenant_id,
                    "run": run_id,
                    "experiment": experiment_id,
                    "name": name,
                    "digest": digest,
                    "tags": Jsonb(tags),
                }
                # In one order, as whoever locks datasets does.
                for (experiment_id, name, digest), tags in sorted(inputs.items(), key=lambda item: item[0])
            ],
        )


async def of_runs(conn: Connection, run_ids: Sequence[UUID]) -> Mapping[UUID, list[InputRow]]:
    """What these runs used, without the datasets themselves."""
    async with conn.cursor(row_factory=class_row(InputRow)) as cursor:
        await cursor.execute(
            "SELECT i.run_id, i.experiment_id, i.name, i.digest, i.tags,"
            " octet_length(i.name) + octet_length(i.tags::text) + octet_length(d.source_type) + octet_length(d.source)"
            " + octet_length(d.schema) + octet_length(d.profile) AS size"
            " FROM tracking.run_inputs i JOIN tracking.datasets d USING (tenant_id, experiment_id, name, digest)"
            " WHERE i.run_id = ANY(%(ids)s) ORDER BY i.run_id, i.name, i.digest",
            {"ids": list(run_ids)},
        )
        found: defaultdict[UUID, list[InputRow]] = defaultdict(list)
        for row in await cursor.fetchall():
            found[row.run_id].append(row)
        return found


async def search(conn: Connection, experiment_ids: Sequence[int], after: UsedAs | None, limit: int) -> list[UsedAs]:
    """What runs of these experiments used and what for, each once and in order, behind `after`."""
    experiment_id, name, digest, context = after or (0, "", "", "")
    cursor = await conn.execute(
        "SELECT DISTINCT i.experiment_id, i.name, i.digest,"
        " coalesce(i.tags ->> 'mlflow.data.context', '') COLLATE \"C\" AS context"
        " FROM tracking.run_inputs i WHERE i.experiment_id = ANY(%(experiments)s)"
        # The first line is for the index, which does not know the context.
        " AND (NOT %(behind)s OR (i.experiment_id, i.name, i.digest) >= (%(experiment)s, %(name)s, %(digest)s)"
        " AND (i.experiment_id, i.name, i.digest, coalesce(i.tags ->> 'mlflow.data.context', '') COLLATE \"C\")"
        " > (%(experiment)s, %(name)s, %(digest)s, %(context)s))"
        " ORDER BY 1, 2, 3, 4 LIMIT %(limit)s",
        {
            "experiments": list(experiment_ids),
            "behind": after is not None,
            "experiment": experiment_id,
            "name": name,
            "digest": digest,
            "context": context,
            "limit": limit,
        },
    )
    return [UsedAs(*row) for row in await cursor.fetchall()]


async def datasets(conn: Connection, keys: Sequence[DatasetKey]) -> dict[DatasetKey, DatasetRow]:
    """By key."""
    async with conn.cursor(row_factory=class_row(DatasetRow)) as cursor:
        await cursor.execute(
            "SELECT d.experiment_id, d.name, d.digest, d.source_type, d.source, d.schema, d.profile"
            " FROM tracking.datasets d"
            " JOIN unnest(%(experiments)s::bigint[], %(names)s::text[], %(digests)s::text[])"
            " AS k(experiment_id, name, digest) USING (experiment_id, name, digest)",
            {
                "experiments": [key[0] for key in keys],
                "names": [key[1] for key in keys],
                "digests": [key[2] for key in keys],
            },
        )
        return {row.key: row for row in await cursor.fetchall()}
