"""The SQL of the bus in PostgreSQL. Connections are in autocommit; whoever needs a transaction opens it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import psycopg

from headrace_kit.bus import Partition, Received, Record

CHANNEL: Final = "headrace_bus"
"""Payloads: "topic <name>" when it has new records, "group <name>" when its members should look anew."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A partition that a member has, from when `epoch` began."""

    partition_id: int
    epoch: int
    committed: int | None


@dataclass(frozen=True, slots=True)
class Member:
    """A consumer of a group."""

    group: str
    member_id: UUID
    topics: tuple[str, ...]
    session_key: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class Group:
    """A group as one transaction saw it."""

    members: Mapping[UUID, frozenset[str]]
    owners: Mapping[Partition, UUID | None]
    claims: Mapping[Partition, Claim]
    """Of every partition, whoever owns it; epoch 0 where nobody ever did."""


def partition_ids(conn: psycopg.Connection, topics: Sequence[str]) -> dict[Partition, int]:
    """The partitions of topics; a topic that was never made has none."""
    rows = conn.execute(
        "SELECT topic, number, partition_id FROM bus.partitions WHERE topic = ANY(%(topics)s) ORDER BY topic, number",
        {"topics": list(topics)},
    )
    return {Partition(topic, number): partition_id for topic, number, partition_id in rows}


def make_partitions(conn: psycopg.Connection, topics: Mapping[str, int]) -> None:
    """Makes partitions up to these numbers."""
    conn.execute(
        """
        INSERT INTO bus.partitions (topic, number)
        SELECT wanted.topic, wanted_number
          FROM unnest(%(topics)s::text[], %(counts)s::int[]) AS wanted (topic, partitions),
               generate_series(0, wanted.partitions - 1) AS wanted_number
         WHERE NOT EXISTS (SELECT FROM bus.partitions p WHERE p.topic = wanted.topic AND p.number = wanted_number)
         ORDER BY wanted.topic, wanted_number
            ON CONFLICT DO NOTHING
        """,
        {"topics": list(topics), "counts": list(topics.values())},
    )


def next_offsets(conn: psycopg.Connection, ids: Iterable[int]) -> dict[int, int]:
    """The offset that the next record of each partition gets."""
    rows = conn.execute(
        "SELECT partition_id, next_offset FROM bus.partitions WHERE partition_id = ANY(%(ids)s)", {"ids": list(ids)}
    )
    return dict(rows.fetchall())


def claim_batch(conn: psycopg.Connection, producer_id: UUID, batch: int) -> bool:
    """Begins a batch, in the transaction that writes it; False when it was written before. Batches only count up.

    Waits for a transaction that is still at it, on a connection that was lost.
    """
    return (
        conn.execute(
            "INSERT INTO bus.producers AS p (producer_id, last_batch) VALUES (%(producer)s, %(batch)s)"
            " ON CONFLICT (producer_id) DO UPDATE SET last_batch = %(batch)s, update_time = now()"
            " WHERE p.last_batch < %(batch)s",
            {"producer": producer_id, "batch": batch},
        ).rowcount
        == 1
    )


def forget_producers(conn: psycopg.Connection, idle_s: float) -> None:
    """Those that wrote nothing for so long."""
    conn.execute(
        "DELETE FROM bus.producers WHERE update_time < now() - %(idle)s * interval '1 second'", {"idle": idle_s}
    )


def append(conn: psycopg.Connection, rows: Sequence[tuple[int, Record]]) -> list[int]:
    """Appends records to partitions, in this order; returns their offsets. In a transaction.

    Other producers of these partitions wait until it ends.
    """
    ids = sorted({partition_id for partition_id, _ in rows})
    locked = conn.execute(
        "SELECT partition_id, next_offset FROM bus.partitions"
        " WHERE partition_id = ANY(%(ids)s) ORDER BY partition_id FOR UPDATE",
        {"ids": ids},
    ).fetchall()
    ends: dict[int, int] = dict(locked)
    offsets: list[int] = []
    with conn.cursor().copy(
        "COPY bus.records (partition_id, record_offset, key, value, headers) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.set_types(["int4", "int8", "bytea", "bytea", "text"])
        for partition_id, record in rows:
            headers = json.dumps({name: value.decode("latin-1") for name, value in record.headers.items()})
            copy.write_row((partition_id, ends[partition_id], record.key, record.value, headers))
            offsets.append(ends[partition_id])
            ends[partition_id] += 1
    conn.execute(
        """
        UPDATE bus.partitions p SET next_offset = new.next_offset
          FROM unnest(%(ids)s::int[], %(ends)s::bigint[]) AS new (partition_id, next_offset)
         WHERE p.partition_id = new.partition_id
        """,
        {"ids": ids, "ends": [ends[partition_id] for partition_id in ids]},
    )
    for topic in {record.topic for _, record in rows}:
        notify(conn, f"topic {topic}")
    return offsets


def notify(conn: psycopg.Connection, payload: str) -> None:
    """Wakes everybody who listens, at the end of the transaction."""
    conn.execute("SELECT pg_notify(%(channel)s, %(payload)s)", {"channel": CHANNEL, "payload": payload})


def read(
    conn: psycopg.Connection, partition: Partition, partition_id: int, offset: int, most: int, most_bytes: int
) -> list[Received]:
    """Records from `offset` on: at most so many, and after the first only as long as values stay below `most_bytes`."""
    rows = conn.cursor(binary=True).execute(
        """
        SELECT record_offset, key, value, headers::text, (extract(epoch FROM create_time) * 1000)::bigint
          FROM (SELECT found.record_offset, found.key, found.value, found.headers, found.create_time,
                       sum(octet_length(found.value)) OVER (ORDER BY found.record_offset) AS total
                  FROM (SELECT record_offset, key, value, headers, create_time
                          FROM bus.records
                         WHERE partition_id = %(partition_id)s AND record_offset >= %(offset)s
                         ORDER BY record_offset
                         LIMIT %(most)s) AS found) AS summed
         WHERE total - octet_length(value) < %(most_bytes)s
         ORDER BY record_offset
        """,
        {"partition_id": partition_id, "offset": offset, "most": most, "most_bytes": most_bytes},
    )
    return [
        Received(partition, found, key, value, _headers(headers), time_ms)
        for found, key, value, headers, time_ms in rows
    ]


def look(conn: psycopg.Connection, me: Member) -> Group:
    """Renews the member's lease, drops members that are gone, returns the group. In a transaction, which holds the
    group's lock until it ends.

    Gone is whose lease ran out, or whose process no longer holds its lock: PostgreSQL notices a kill -9 at once.
    """
    values = {
        "group": me.group,
        "member": me.member_id,
        "topics": list(me.topics),
        "session_key": me.session_key,
        "lease_s": me.lease_s,
    }
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(lock)s, 0))", {"lock": f"bus.group {me.group}"})
    conn.execute(
        """
        DELETE FROM bus.members
         WHERE group_name = %(group)s AND member_id <> %(member)s
           AND (lease_until < now() OR session_key <> %(session_key)s AND pg_try_advisory_xact_lock(session_key))
        """,
        values,
    )
    conn.execute(
        """
        INSERT INTO bus.members (group_name, member_id, topics, session_key, lease_until)
        VALUES (%(group)s, %(member)s, %(topics)s, %(session_key)s, now() + %(lease_s)s * interval '1 second')
        ON CONFLICT (group_name, member_id)
        DO UPDATE SET lease_until = excluded.lease_until, session_key = excluded.session_key
        """,
        values,
    )
    members = conn.execute("SELECT member_id, topics FROM bus.members WHERE group_name = %(group)s", values).fetchall()
    rows = conn.execute(
        """
        SELECT p.topic, p.number, p.partition_id, c.member_id, coalesce(c.epoch, 0), c.committed_offset
          FROM bus.partitions p
          LEFT JOIN bus.claims c ON c.group_name = %(group)s AND c.partition_id = p.partition_id
         WHERE p.topic = ANY(%(all_topics)s)
        """,
        values | {"all_topics": sorted({topic for _, topics in members for topic in topics})},
    ).fetchall()
    return Group(
        members={member_id: frozenset(topics) for member_id, topics in members},
        owners={Partition(topic, number): owner for topic, number, _, owner, _, _ in rows},
        claims={Partition(topic, number): Claim(i, epoch, committed) for topic, number, i, _, epoch, committed in rows},
    )


def claim(conn: psycopg.Connection, me: Member, ids: Sequence[int]) -> None:
    """Makes the member the owner of partitions; below `look`, in its transaction."""
    conn.execute(
        """
        INSERT INTO bus.claims (group_name, partition_id, member_id, epoch)
        SELECT %(group)s, partition_id, %(member)s, 1 FROM unnest(%(ids)s::int[]) AS partition_id
        ON CONFLICT (group_name, partition_id)
        DO UPDATE SET member_id = excluded.member_id, epoch = bus.claims.epoch + 1
        """,
        {"group": me.group, "member": me.member_id, "ids": list(ids)},
    )


def release(conn: psycopg.Connection, me: Member, ids: Sequence[int]) -> None:
    """Gives partitions up, and wakes who may want them."""
    conn.execute(
        """
        UPDATE bus.claims SET member_id = NULL
         WHERE group_name = %(group)s AND member_id = %(member)s AND partition_id = ANY(%(ids)s)
        """,
        {"group": me.group, "member": me.member_id, "ids": list(ids)},
    )
    notify(conn, f"group {me.group}")


def leave(conn: psycopg.Connection, me: Member) -> None:
    """Gives everything up and leaves the group, for good."""
    with conn.transaction():
        values = {"group": me.group, "member": me.member_id}
        conn.execute(
            "UPDATE bus.claims SET member_id = NULL WHERE group_name = %(group)s AND member_id = %(member)s", values
        )
        conn.execute("DELETE FROM bus.members WHERE group_name = %(group)s AND member_id = %(member)s", values)
        notify(conn, f"group {me.group}")


def commit(conn: psycopg.Connection, me: Member, offsets: Mapping[int, tuple[int, int]]) -> None:
    """Keeps offsets, given as partition id → (epoch, offset), where the member still owns the partition since then."""
    conn.execute(
        """
        UPDATE bus.claims c SET committed_offset = done.committed_offset
          FROM unnest(%(ids)s::int[], %(epochs)s::bigint[], %(offsets)s::bigint[])
               AS done (partition_id, epoch, committed_offset)
         WHERE c.group_name = %(group)s AND c.partition_id = done.partition_id
           AND c.member_id = %(member)s AND c.epoch = done.epoch
        """,
        {
            "group": me.group,
            "member": me.member_id,
            "ids": list(offsets),
            "epochs": [epoch for epoch, _ in offsets.values()],
            "offsets": [offset for _, offset in offsets.values()],
        },
    )


def renew(conn: psycopg.Connection, members: Sequence[UUID], lease_s: float) -> None:
    """Renews the leases of members that still have one."""
    conn.execute(
        "UPDATE bus.members SET lease_until = now() + %(lease_s)s * interval '1 second'"
        " WHERE member_id = ANY(%(members)s)",
        {"members": list(members), "lease_s": lease_s},
    )


def delete_old(conn: psycopg.Connection, partition_id: int, *, older_than_s: float, consumed: bool, most: int) -> bool:
    """Deletes the first records of a partition that are too old or, if asked, that every group has committed.

    Looks at `most` records; returns whether there may be more to delete.
    """
    row = conn.execute(
        """
        SELECT count(*), coalesce(min(record_offset) FILTER (WHERE NOT ripe), max(record_offset) + 1, 0)
          FROM (SELECT record_offset,
                       create_time < now() - %(older_than_s)s * interval '1 second'
                       OR %(consumed)s AND record_offset < (SELECT coalesce(min(coalesce(committed_offset, 0)), 0)
                                                              FROM bus.claims
                                                             WHERE partition_id = %(partition_id)s) AS ripe
                  FROM bus.records
                 WHERE partition_id = %(partition_id)s
                 ORDER BY record_offset
                 LIMIT %(most)s) AS first
        """,
        {"partition_id": partition_id, "older_than_s": older_than_s, "consumed": consumed, "most": most},
    ).fetchone()
    seen, end = row or (0, 0)
    deleted = conn.execute(
        "DELETE FROM bus.records WHERE partition_id = %(partition_id)s AND record_offset < %(end)s",
        {"partition_id": partition_id, "end": end},
    ).rowcount
    return bool(deleted == seen == most)


def _headers(text: str) -> dict[str, bytes]:
    return {name: value.encode("latin-1") for name, value in json.loads(text).items()}
