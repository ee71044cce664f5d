"""kill -9 in the midst of a file that comes in parts: what was answered is there, and the file becomes whole or is not there."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from fix_mlflow import Rest
from fix_platform import Platform
from fix_transfers import MPU, Place, put_part

MIB = 1 << 20


def again(call: Callable[[], httpx.Response]) -> httpx.Response:
    """As MLflow's client does: until something else is answered than to come back."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = call()
            if answer.status_code not in {429, 500, 502, 503, 504}:
                return answer
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


def restart(platform: Platform, name: str) -> None:
    platform.services[name].kill()
    platform.services[name].start()
    platform.services[name].wait()
    platform.wait_healthy()


@pytest.mark.timeout(300)
def test_parts_that_were_answered_survive(platform: Platform) -> None:
    pieces = [os.urandom(12 * MIB) for _ in range(6)]
    with httpx.Client(base_url=platform.uri, timeout=60) as http, ThreadPoolExecutor(2) as pool:
        rest = Rest("headrace", http)
        experiment_id = rest.experiment()
        place = Place(rest, experiment_id, rest.run(experiment_id))
        upload = place.create("model.bin", len(pieces))
        credentials = upload["credentials"]
        parts = [put_part(credentials[number], pieces[number]) for number in (4, 0)]
        for name, number in (("artifacts", 1), ("gateway", 2)):
            killed = threading.Event()
            body = never_ending(pieces[number], killed)
            cut_off = pool.submit(httpx.put, credentials[number]["url"], content=body, timeout=60)
            restart(platform, name)
            killed.set()
            failed = cut_off.exception() or cut_off.result().status_code >= 500
            assert failed, "the part was answered although its process was killed"
            parts.append(put_part(credentials[number], pieces[number]))
        parts += [put_part(credentials[number], pieces[number]) for number in (3, 5)]
        assert place.listed() == []
        asked = {"path": "model.bin", "upload_id": upload["upload_id"], "parts": parts}

        def complete() -> httpx.Response:
            return http.post(f"{MPU}/complete/{place.folder}", json=asked)

        before = loose(platform)
        first = pool.submit(again, complete)
        while loose(platform) <= before and not first.done():  # its blob is written down: it has begun
            time.sleep(0.01)
        restart(platform, "artifacts")
        assert first.result().status_code == 200, first.result().text
        assert again(complete).status_code == 200
        assert place.listed() == ["model.bin"]
        whole = place.read("model.bin").content
        assert hashlib.sha256(whole).digest() == hashlib.sha256(b"".join(pieces)).digest()


def never_ending(data: bytes, killed: threading.Event) -> Iterator[bytes]:
    """A body of which the last byte comes only when it is too late."""
    yield data[:-1]
    killed.wait(60)
    yield data[-1:]


def loose(platform: Platform) -> int:
    """Blobs that no artifact has."""
    with psycopg.connect(platform.environ["HEADRACE_DATABASE"]) as conn:
        row = conn.execute("SELECT count(*) FROM artifacts.loose_blobs").fetchone()
        assert row is not None
        return int(row[0])
