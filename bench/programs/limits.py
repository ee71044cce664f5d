"""Raw limits: Kafka producing, COPY BINARY and a gRPC echo, of the same bytes as Headrace moves, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import kafka
import numpy as np
import psycopg

from headrace.ingest.columns import Block
from headrace.ingest.frames import Limits, make_frames
from headrace_tracking import chunks
from headrace_tracking.columns import Columns, Zstd
from headrace_tracking.segments import Segments
from programs.wire import given, hear, now, say

_METHOD = "/bench.Echo/Echo"
_RECORD_BYTES = 512 << 10
_FLYING = 32


def main() -> None:
    """Arguments: what ("kafka", "copy", "echo" or "echo server"), points in a frame or chunk, count of these, where."""
    asked = given()
    work = {"kafka": _kafka, "copy": _copy, "echo": _echo, "echo server": _echo_server}[asked["what"]]
    work(asked)


def _frame(points: int) -> bytes:
    values = np.random.default_rng(1).normal(1.0, 0.1, points)
    ms = [1_700_000_000_000] * (points // 10)
    blocks = [
        Block(f"train/metric_{number}", values[number::10].tolist(), range(points // 10), ms) for number in range(10)
    ]
    (frame,) = make_frames(blocks, Limits(points, 1 << 20))
    return frame.SerializeToString()


def _kafka(asked: dict[str, Any]) -> None:
    frame = _frame(asked["points"])
    frames = max(1, min(asked["count"], _RECORD_BYTES // len(frame)))
    record, records = frame * frames, asked["count"] // frames
    producer: Any = kafka.KafkaProducer(
        bootstrap_servers=asked["where"], acks="all", linger_ms=5, batch_size=256 << 10, max_request_size=4 << 20
    )
    producer.partitions_for(asked["topic"])
    say(ready=True)
    hear()
    first = now()
    sent = [producer.send(asked["topic"], value=record) for _ in range(records)]
    for each in sent:
        each.get(60)
    say(first=first, visible=now(), points=records * frames * asked["points"])
    hear()


def _copy(asked: dict[str, Any]) -> None:
    values = np.random.default_rng(1).normal(1.0, 0.1, asked["points"])
    steps = np.arange(asked["points"])
    points = Columns(steps, steps + 1_700_000_000_000, values)
    ((_, chunk),) = chunks.cut(Segments.of([points]), Zstd(), asked["points"])
    with psycopg.connect(asked["where"], autocommit=True) as conn:
        conn.execute("SET synchronous_commit = off")  # as Headrace's writer
        conn.execute("CREATE TABLE IF NOT EXISTS limit_chunks (series int, first bigint, points int, data bytea)")
        conn.execute("ALTER TABLE limit_chunks ALTER COLUMN data SET STORAGE EXTERNAL")
        conn.execute("CREATE INDEX IF NOT EXISTS limit_chunks_key ON limit_chunks (series, first)")
        say(ready=True)
        hear()
        first = now()
        for start in range(0, asked["count"], 200):
            with (
                conn.transaction(),
                conn.cursor() as cursor,
                cursor.copy("COPY limit_chunks FROM STDIN (FORMAT BINARY)") as copy,
            ):
                copy.set_types(["int4", "int8", "int4", "bytea"])
                for number in range(start, min(start + 200, asked["count"])):
                    copy.write_row((number % 40, number, chunk.points, chunk.data))
        say(first=first, visible=now(), points=asked["count"] * asked["points"])
        hear()
        conn.execute("DROP TABLE limit_chunks")


def _echo(asked: dict[str, Any]) -> None:
    asyncio.run(_echo_client(asked))


async def _echo_client(asked: dict[str, Any]) -> None:
    frame = _frame(asked["points"])
    each = asked["count"] // 4
    async with grpc.aio.insecure_channel(asked["where"]) as channel:
        await channel.channel_ready()
        say(ready=True)
        hear()
        first = now()
        await asyncio.gather(*(_stream(channel, frame, each) for _ in range(4)))
        say(first=first, visible=now(), points=4 * each * asked["points"])
        hear()


async def _stream(channel: grpc.aio.Channel, frame: bytes, count: int) -> None:
    flying = asyncio.Semaphore(_FLYING)

    async def requests() -> AsyncIterator[bytes]:
        for _ in range(count):
            await flying.acquire()
            yield frame

    call: Any = channel.stream_stream(_METHOD)(requests())
    async for _ in call:
        flying.release()


def _echo_server(_asked: dict[str, Any]) -> None:
    asyncio.run(_serve())


async def _serve() -> None:
    """Answers a byte for each frame, as an edge acknowledges."""

    async def echo(requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield b"\0"

    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(where=f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    main()
