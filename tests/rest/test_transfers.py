"""Files in parts, signed URLs and ranges; each sentence against Headrace in both set-ups, and MLflow on an S3 store."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from fix_mlflow import Name, Rest
from fix_transfers import MPU, PROXY, Place, put_part

MIB = 1 << 20
PART = 5 * MIB  # the least of an S3 store, but for the last


def complete(place: Place, upload: Any, parts: list[Any], path: str, folder: str = "") -> None:
    place.rest.post(f"{MPU}/complete/{place.folder}{folder}", path=path, upload_id=upload["upload_id"], parts=parts)


def test_a_file_in_parts(place: Place) -> None:
    data = os.urandom(2 * PART + 17)
    upload = place.create("/home/me/model.bin", 3, "/weights")
    assert [one["part_number"] for one in upload["credentials"]] == [1, 2, 3]
    pieces = [data[at : at + PART] for at in range(0, len(data), PART)]
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(put_part, reversed(upload["credentials"]), reversed(pieces)))
    assert place.listed() == []
    complete(place, upload, sorted(parts, key=lambda part: part["part_number"]), "/home/me/model.bin", "/weights")
    assert place.listed("weights") == ["weights/model.bin"]
    assert hashlib.sha256(place.read("weights/model.bin").content).digest() == hashlib.sha256(data).digest()


def test_a_part_that_comes_again_takes_the_place_of_the_first(place: Place) -> None:
    upload = place.create("model.bin", 2)
    first, last = upload["credentials"]
    put_part(first, b"x" * PART)
    parts = [put_part(first, b"y" * PART), put_part(last, b"end")]
    complete(place, upload, parts, "model.bin")
    assert place.read("model.bin").content == b"y" * PART + b"end"


def test_a_part_that_is_missing(place: Place) -> None:
    upload = place.create("model.bin", 2)
    parts = [put_part(upload["credentials"][0], b"x" * PART)]
    parts.append({"part_number": 2, "etag": '"0123"'})
    asked = {"path": "model.bin", "upload_id": upload["upload_id"], "parts": parts}
    refused = place.rest.call("POST", f"{MPU}/complete/{place.folder}", **asked)
    assert refused.status == (400 if place.rest.name == "headrace" else 500), refused
    assert place.listed() == []


def test_an_aborted_upload_is_gone(place: Place) -> None:
    upload = place.create("model.bin", 1)
    part = put_part(upload["credentials"][0], b"x")
    asked = {"path": "model.bin", "upload_id": upload["upload_id"]}
    place.rest.post(f"{MPU}/abort/{place.folder}", **asked)
    refused = place.rest.call("POST", f"{MPU}/complete/{place.folder}", **asked, parts=[part])
    assert refused.status == (404 if place.rest.name == "headrace" else 500), refused
    again = httpx.put(upload["credentials"][0]["url"], content=b"x")
    assert again.status_code == 404, again.text
    assert place.listed() == []


def test_what_is_needed(place: Place) -> None:
    asked: tuple[tuple[str, dict[str, Any]], ...] = (
        ("create", {"num_parts": 1}),
        ("complete", {"upload_id": "x", "parts": []}),
        ("abort", {}),
    )
    for route, fields in asked:
        refused = place.rest.call("POST", f"{MPU}/{route}/{place.folder}", **fields)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")
        assert "path" in refused.message
        refused = place.rest.call("POST", f"{MPU}/{route}/{place.folder}/%252e%252e/x", path="a", **fields)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_the_server_says_what_it_can(place: Place) -> None:
    told = place.rest.get("/api/3.0/mlflow/server-info")
    assert told["multipart_uploads_enabled"] is True
    assert told["presigned_upload_run_id_supported"] is told["presigned_upload_model_id_supported"] is True


def test_a_url_that_reads_a_file(place: Place) -> None:
    data = os.urandom(MIB)
    assert place.rest.http.put(f"{PROXY}/{place.folder}/a/model.bin", content=data).status_code == 200
    signed = place.rest.get(f"/api/2.0/mlflow-artifacts/presigned/{place.folder}/a/model.bin")
    assert signed["file_size"] == MIB
    got = httpx.get(signed["url"], headers=signed["headers"])
    assert (got.status_code, got.content) == (200, data)
    for asked, expected in (
        ("0-0", data[:1]),
        ("100-1123", data[100:1124]),
        (f"{MIB - 5}-", data[-5:]),
        ("-7", data[-7:]),
    ):
        got = httpx.get(signed["url"], headers={**signed["headers"], "Range": f"bytes={asked}"})
        assert (got.status_code, got.content) == (206, expected), asked
        assert got.headers["content-range"].endswith(f"/{MIB}")
    beyond = httpx.get(signed["url"], headers={**signed["headers"], "Range": f"bytes={MIB}-"})
    assert beyond.status_code == 416


def test_urls_that_store_and_read_files_of_a_run(direct: Place) -> None:
    fields = {"run_id": direct.run_id, "path": "a/b.txt"}
    up = direct.rest.post("artifacts/presigned-upload-url", **fields, expiration=60)
    assert httpx.put(up["presigned_url"], content=b"hello", headers=up.get("headers")).status_code == 200
    assert direct.listed("a") == ["a/b.txt"]
    down = direct.rest.post("artifacts/presigned-download-url", **fields)
    assert httpx.get(down["presigned_url"], headers=down.get("headers")).content == b"hello"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("artifacts/presigned-upload-url", {"path": "x"}),
        ("artifacts/presigned-upload-url", {**fields, "model_id": "m-" + "0" * 32}),
        ("artifacts/presigned-upload-url", {**fields, "path": "../x"}),
        ("artifacts/presigned-download-url", {**fields, "expiration": 0}),
        ("artifacts/presigned-download-url", {**fields, "expiration": 604_801}),
        ("artifacts/presigned-download-url", {"path": "x"}),
        ("artifacts/presigned-download-url", {"run_id": direct.run_id}),
    ]
    for route, asked in wrong:
        refused = direct.rest.call("POST", route, **asked)
        assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE"), asked


# What is Headrace's own


@pytest.fixture
def ours(servers: dict[Name, Rest]) -> Place:
    rest = servers["headrace"]
    experiment_id = rest.experiment()
    return Place(rest, experiment_id, rest.run(experiment_id))


def test_ranges_of_ordinary_reads(ours: Place) -> None:
    ours.rest.http.put(f"{PROXY}/{ours.folder}/a.txt", content=b"0123456789")
    whole = ours.read("a.txt")
    assert whole.headers["accept-ranges"] == "bytes"
    tag = whole.headers["etag"]
    cases = (
        ({"Range": "bytes=2-4"}, 206, b"234"),
        ({"Range": "bytes=-100"}, 206, b"0123456789"),
        ({"Range": "bytes=8-99"}, 206, b"89"),
        ({"Range": "bytes=2-4", "If-Range": tag}, 206, b"234"),
        ({"Range": "bytes=2-4", "If-Range": '"another"'}, 200, b"0123456789"),
        ({"Range": "bytes=0-1,3-4"}, 200, b"0123456789"),
        ({"Range": "lines=1-2"}, 200, b"0123456789"),
        ({"Range": "bytes=4-2"}, 200, b"0123456789"),
        ({"Range": "bytes=-"}, 200, b"0123456789"),
        ({"Range": "bytes=10-"}, 416, b""),
        ({"Range": "bytes=-0"}, 416, b""),
    )
    for headers, status, content in cases:
        got = ours.read("a.txt", **headers)
        assert (got.status_code, got.content) == (status, content), headers
    ours.rest.http.put(f"{PROXY}/{ours.folder}/empty", content=b"")
    assert ours.read("empty", Range="bytes=0-").status_code == 416
    browser = ours.rest.http.get(
        "/get-artifact", params={"run_id": ours.run_id, "path": "a.txt"}, headers={"Range": "bytes=1-1"}
    )
    assert (browser.status_code, browser.content) == (206, b"1")


def test_a_signature_counts_for_one_thing(ours: Place) -> None:
    ours.rest.http.put(f"{PROXY}/{ours.folder}/a.txt", content=b"secret")
    fields = {"run_id": ours.run_id, "path": "a.txt"}
    down = ours.rest.post("artifacts/presigned-download-url", **fields)["presigned_url"]
    up = ours.rest.post("artifacts/presigned-upload-url", run_id=ours.run_id, path="b.txt")["presigned_url"]
    part = ours.create("c.txt", 1)["credentials"][0]["url"]
    base, _, signature = down.rpartition(".")
    other, _, other_signature = up.rpartition(".")
    for verb, url in (
        ("PUT", down),
        ("GET", up),
        ("PUT", f"{down}/1"),
        ("PUT", part.removesuffix("/1")),
        ("GET", f"{base}.{other_signature}"),
        ("PUT", f"{other}.{signature}"),
        ("GET", base),
        ("GET", f"{base}."),
        ("GET", down[:-1] + ("A" if down[-1] != "A" else "B")),
    ):
        got = httpx.request(verb, url, content=b"forged" if verb == "PUT" else None)
        assert (got.status_code, got.json()["error_code"]) == (403, "PERMISSION_DENIED"), (verb, url)
    assert httpx.put(f"{part[:-2]}/2", content=b"x").status_code == 400
    assert httpx.put(f"{part[:-2]}/99999999999999", content=b"x").status_code == 400
    assert ours.listed() == ["a.txt"]
    ours.rest.http.put(f"{PROXY}/{ours.folder}/a.txt", content=b"another")
    assert httpx.get(down).status_code == 404  # it was for the file that was there


def test_a_model_takes_signed_files(ours: Place) -> None:
    model = ours.rest.post("logged-models", experiment_id=ours.experiment_id, name="m")["model"]["info"]["model_id"]
    up = ours.rest.post("artifacts/presigned-upload-url", model_id=model, path="MLmodel")
    assert httpx.put(up["presigned_url"], content=b"flavors: {}").status_code == 200
    got = ours.rest.http.get(
        f"/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files", params={"artifact_file_path": "MLmodel"}
    )
    assert got.content == b"flavors: {}"
