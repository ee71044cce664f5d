"""The servers that take files in parts and sign URLs: Headrace in both set-ups, and MLflow's with its files in an S3 store."""

import secrets
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from minio import Minio

from fix_mlflow import Name, Rest, mlflow_server, unique
from fix_platform import Platform
from headrace_kit.testing import peers
from headrace_kit.testing.backends import Backends

BOTO: Final = Path(__file__).parent.parent / "bench" / "peers" / "boto3.txt"
MPU: Final = "/api/2.0/mlflow-artifacts/mpu"
PROXY: Final = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Place:
    """A run to put files to."""

    rest: Rest
    experiment_id: str
    run_id: str

    @property
    def folder(self) -> str:
        """Of its files, by the proxy."""
        return f"{self.experiment_id}/{self.run_id}/artifacts"

    def create(self, path: str, parts: int, folder: str = "") -> Any:
        """Begins a file in parts."""
        return self.rest.post(f"{MPU}/create/{self.folder}{folder}", path=path, num_parts=parts)

    def read(self, path: str, **headers: str) -> httpx.Response:
        """A file, through the proxy."""
        return self.rest.http.get(f"{PROXY}/{self.folder}/{path}", headers=headers)

    def listed(self, path: str = "") -> list[str]:
        """Paths of a folder."""
        return [
            str(one["path"]) for one in self.rest.get("artifacts/list", run_id=self.run_id, path=path).get("files", [])
        ]


def put_part(credential: Any, data: bytes) -> dict[str, Any]:
    """As MLflow's client does: nothing but the URL and the headers given; what completing takes."""
    done = httpx.put(credential["url"], content=data, headers=credential.get("headers"), timeout=60)
    assert done.status_code == 200, done.text
    return {"part_number": credential["part_number"], "etag": done.headers["ETag"], "url": credential["url"]}


@pytest.fixture(scope="session")
def mlflow_on_s3(mlflow_python: Path, backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """MLflow's server, which leaves transfers to an S3 store."""
    bucket = f"mlflow-{secrets.token_hex(6)}"
    s3 = backends.s3
    Minio(s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key, secure=s3.secure).make_bucket(bucket)
    environ = {
        "MLFLOW_S3_ENDPOINT_URL": f"{'https' if s3.secure else 'http'}://{s3.endpoint}",
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": sysconfig.get_path("purelib", vars={"base": str(peers.python(BOTO).parent.parent)}),
    }
    folder = tmp_path_factory.mktemp("mlflow-s3")
    with (
        mlflow_server(mlflow_python, folder, artifacts=f"s3://{bucket}/proxied", environ=environ) as uri,
        httpx.Client(base_url=uri, timeout=60) as http,
    ):
        yield Rest("mlflow", http)


@pytest.fixture(params=["embedded", "distributed", "mlflow"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A run of each server in turn."""
    with httpx.Client(timeout=60) as http:
        match request.param:
            case "embedded":
                servers: dict[Name, Rest] = request.getfixturevalue("servers")
                rest = servers["headrace"]
            case "distributed":
                platform: Platform = request.getfixturevalue("platform")
                http.base_url = httpx.URL(platform.uri)
                rest = Rest("headrace", http)
            case _:
                rest = request.getfixturevalue("mlflow_on_s3")
        experiment_id = rest.experiment()
        yield Place(rest, experiment_id, rest.run(experiment_id))


@pytest.fixture
def direct(place: Place) -> Place:
    """A run whose files MLflow signs URLs for: it does so where they are not behind its proxy; here all are."""
    rest = place.rest
    if rest.name == "headrace":
        return place
    root = place.rest.get("experiments/get", experiment_id=place.experiment_id)["experiment"]["artifact_location"]
    assert root.startswith("mlflow-artifacts:"), root
    bucket = _bucket_of(place)
    made = rest.post("experiments/create", name=unique("direct"), artifact_location=f"s3://{bucket}/direct")
    experiment_id = str(made["experiment_id"])
    return Place(rest, experiment_id, rest.run(experiment_id))


def _bucket_of(place: Place) -> str:
    """From a URL that the store signed."""
    url = httpx.URL(place.create("probe", 1)["credentials"][0]["url"])
    return url.path.split("/")[1]
