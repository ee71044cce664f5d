"""Files of runs; each sentence against Headrace and MLflow itself."""

import pytest

from fix_mlflow import Rest

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


def put(rest: Rest, run: tuple[str, str], path: str, content: bytes) -> None:
    done = rest.http.put(f"{PROXY}/{run[0]}/{run[1]}/artifacts/{path}", content=content)
    assert done.status_code == 200, done.text


@pytest.fixture
def run(rest: Rest) -> tuple[str, str]:
    """Experiment and run."""
    experiment_id = rest.experiment()
    return experiment_id, rest.run(experiment_id)


def test_up_and_down(rest: Rest, run: tuple[str, str]) -> None:
    content = bytes(range(256)) * 10_000
    put(rest, run, "plots/big.bin", content)
    put(rest, run, "empty.txt", b"")
    got = rest.http.get(f"{PROXY}/{run[0]}/{run[1]}/artifacts/plots/big.bin")
    assert got.content == content
    assert rest.http.get(f"{PROXY}/{run[0]}/{run[1]}/artifacts/empty.txt").content == b""
    put(rest, run, "plots/big.bin", b"other")
    assert rest.http.get(f"{PROXY}/{run[0]}/{run[1]}/artifacts/plots/big.bin").content == b"other"


def test_a_list_shows_one_folder_by_paths_of_the_run(rest: Rest, run: tuple[str, str]) -> None:
    for path in ("a/1.txt", "a/b/2.txt", "a/b/3.txt", "top.txt", "a.txt"):
        put(rest, run, path, path.encode())
    top = rest.get("artifacts/list", run_id=run[1])
    assert top["root_uri"] == f"mlflow-artifacts:/{run[0]}/{run[1]}/artifacts"
    found = sorted((one["path"], one.get("is_dir", False), one.get("file_size")) for one in top["files"])
    assert found == [("a", True, None), ("a.txt", False, 5), ("top.txt", False, 7)]
    below = rest.get("artifacts/list", run_id=run[1], path="a")["files"]
    assert sorted((one["path"], one.get("is_dir", False)) for one in below) == [("a/1.txt", False), ("a/b", True)]
    assert "files" not in rest.get("artifacts/list", run_id=run[1], path="top.txt")
    assert "files" not in rest.get("artifacts/list", run_id=run[1], path="nothing")


def test_the_proxys_list_shows_names(rest: Rest, run: tuple[str, str]) -> None:
    put(rest, run, "a/b/2.txt", b"x")
    put(rest, run, "a/1.txt", b"xy")
    got = rest.http.get(PROXY, params={"path": f"{run[0]}/{run[1]}/artifacts/a"}).json()["files"]
    assert sorted((one["path"], one.get("is_dir", False)) for one in got) == [("1.txt", False), ("b", True)]


def test_deleting(rest: Rest, run: tuple[str, str]) -> None:
    put(rest, run, "a/1.txt", b"x")
    put(rest, run, "a/2.txt", b"x")
    gone = rest.http.delete(f"{PROXY}/{run[0]}/{run[1]}/artifacts/a/1.txt")
    assert gone.status_code == 200, gone.text
    assert [one["path"] for one in rest.get("artifacts/list", run_id=run[1], path="a")["files"]] == ["a/2.txt"]


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "%2e%2e/x", "a/%252e%252e/%252e%252e/x", "a\\..\\x", "/etc/passwd"]
)
def test_paths_that_climb(rest: Rest, run: tuple[str, str], path: str) -> None:
    if rest.name == "mlflow" and "\\" in path:
        return  # on Linux, no separator to it
    refused = rest.call("GET", "artifacts/list", run_id=run[1], path=path)
    assert (refused.status, refused.code) == (400, "INVALID_PARAMETER_VALUE")


def test_a_file_that_is_not_there(rest: Rest, run: tuple[str, str]) -> None:
    got = rest.http.get(f"{PROXY}/{run[0]}/{run[1]}/artifacts/nothing.txt")
    assert got.status_code == 404


def test_for_a_browser(rest: Rest, run: tuple[str, str]) -> None:
    put(rest, run, "page.html", b"<script>alert(1)</script>")
    got = rest.http.get("/get-artifact", params={"run_id": run[1], "path": "page.html"})
    assert got.content == b"<script>alert(1)</script>"
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["x-content-type-options"] == "nosniff"


def test_up_from_a_browser(rest: Rest, run: tuple[str, str]) -> None:
    route = "/ajax-api/2.0/mlflow/upload-artifact"
    done = rest.http.post(route, params={"run_uuid": run[1], "path": "notes/a.txt"}, content=b"hello")
    assert done.status_code == 200, done.text
    assert rest.http.get("/get-artifact", params={"run_id": run[1], "path": "notes/a.txt"}).content == b"hello"
    wrong: list[tuple[dict[str, str], bytes, str]] = [
        ({"path": "a"}, b"x", "Request must specify run_uuid."),
        ({"run_uuid": run[1]}, b"x", "Request must specify path."),
        ({"run_uuid": run[1], "path": "a"}, b"", "Request must specify data."),
        ({"run_uuid": run[1], "path": "a"}, bytes((10 << 20) + 1), "Artifact size is too large. Max size is 10MB."),
    ]
    for params, content, message in wrong:
        refused = rest.http.post(route, params=params, content=content)
        assert (refused.status_code, refused.json()["message"]) == (400, message)


def test_a_file_of_a_version(rest: Rest, run: tuple[str, str]) -> None:
    put(rest, run, "model/MLmodel", b"flavors: {}")
    model = rest.model()
    version = rest.version(model, source=f"runs:/{run[1]}/model", run_id=run[1])
    route = "/model-versions/get-artifact"
    got = rest.http.get(route, params={"name": model, "version": version, "path": "MLmodel"})
    if rest.name == "mlflow" and got.status_code == 500:
        return  # it does not resolve runs:/ there
    assert got.content == b"flavors: {}"
    assert got.headers["content-disposition"].startswith("attachment")
    assert rest.http.get(route, params={"name": model, "version": version}).status_code == 400
    assert rest.http.get(route, params={"name": model, "version": "77", "path": "MLmodel"}).status_code == 404
