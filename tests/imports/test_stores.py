"""Artifact roots: an S3 store, a folder, and what stands behind MLflow's proxy."""

from io import BytesIO
from pathlib import Path

import pytest
from minio import Minio

from headrace import errors
from headrace.imports.mlflow.stores import Stores
from headrace_kit.blobs.s3 import S3Config

CONTENTS = {"a.txt": b"one", "sub/räume b.bin": bytes(range(256)) * 9000, "sub/empty": b""}


@pytest.fixture
def bucket(s3: S3Config, monkeypatch: pytest.MonkeyPatch) -> str:
    client = Minio(s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key, secure=s3.secure)
    client.make_bucket(s3.bucket)
    for path, data in CONTENTS.items():
        client.put_object(s3.bucket, f"root/1/run/artifacts/{path}", BytesIO(data), len(data))
    client.put_object(s3.bucket, "root/1/run/artifacts-of-another/x", BytesIO(b"x"), 1)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"{'https' if s3.secure else 'http'}://{s3.endpoint}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    return s3.bucket


def contents(stores: Stores, uri: str, path: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for file in stores.below(uri, path):
        for _ in range(2):  # as often as asked
            with file.open() as opened:
                found[file.path] = opened.read()
        assert len(found[file.path]) == file.size
    return found


def test_a_bucket_is_read_directly_and_behind_the_proxy(bucket: str) -> None:
    assert contents(Stores(), f"s3://{bucket}/root/1/run/artifacts") == CONTENTS
    proxied = Stores(f"s3://{bucket}/root/")
    assert contents(proxied, "mlflow-artifacts:/1/run/artifacts") == CONTENTS
    below = {path.removeprefix("sub/"): data for path, data in CONTENTS.items() if path.startswith("sub/")}
    assert contents(proxied, "mlflow-artifacts:/1/run/artifacts", "sub") == below
    assert contents(proxied, "mlflow-artifacts:/1/none") == {}


def test_a_folder_is_read_by_path_and_by_uri(tmp_path: Path) -> None:
    for path, data in CONTENTS.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert contents(Stores(), str(tmp_path)) == contents(Stores(), tmp_path.as_uri()) == CONTENTS
    assert contents(Stores(str(tmp_path.parent)), f"mlflow-artifacts:/{tmp_path.name}") == CONTENTS
    assert contents(Stores(), str(tmp_path / "none")) == {}


def test_what_cannot_be_read_says_what_to_do() -> None:
    with pytest.raises(errors.InvalidRequest, match="name its folder, s3:// address or server with --artifacts"):
        Stores().below("mlflow-artifacts:/1")
    with pytest.raises(errors.Unsupported, match="Import from the running server"):
        Stores().below("gs://bucket/path")
