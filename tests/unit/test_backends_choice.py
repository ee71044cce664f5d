"""Which backend comes from where, and what is said when one cannot be had."""

from pathlib import Path

import pytest

from headrace_kit.testing.backends import BackendError, S3Address, open_backends, source
from headrace_kit.testing.backends.packages import Package, Tool, cache_folder

GIVEN = {
    "HEADRACE_TEST_BACKENDS": "local",
    "HEADRACE_TEST_POSTGRES": "postgresql://db/x",
    "HEADRACE_TEST_KAFKA": "one:9092,two:9092",
    "HEADRACE_TEST_S3_ENDPOINT": "https://store:9000/",
    "HEADRACE_TEST_S3_ACCESS_KEY": "a",
    "HEADRACE_TEST_S3_SECRET_KEY": "s",
}


def test_the_environment_comes_first() -> None:
    with open_backends({"postgres", "kafka", "s3"}, GIVEN) as backends:
        assert (backends.postgres, backends.kafka) == ("postgresql://db/x", "one:9092,two:9092")
        assert backends.s3 == S3Address("store:9000", "a", "s", secure=True)
        assert backends.s3.url == "https://store:9000"


def test_given_servers_are_not_ours_to_end() -> None:
    with open_backends({"kafka"}, GIVEN) as backends, pytest.raises(BackendError, match="HEADRACE_TEST_KAFKA"):
        backends.servers["kafka"].kill()


def test_what_was_not_asked_for_is_told() -> None:
    with (
        open_backends({"kafka"}, GIVEN) as backends,
        pytest.raises(LookupError, match="not asked for s3, only for kafka"),
    ):
        _ = backends.s3


def test_a_store_without_keys_is_refused() -> None:
    endpoint = {"HEADRACE_TEST_S3_ENDPOINT": "store:9000"}
    with pytest.raises(BackendError, match="HEADRACE_TEST_S3_ACCESS_KEY"), open_backends({"s3"}, endpoint):
        pass


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(BackendError, match='"podman": must be "docker", "local"'):
        source({"HEADRACE_TEST_BACKENDS": "podman"})


def tool(command: str, least: tuple[int, int] = (1, 0)) -> Tool:
    return Tool("Thing", least, ("sh", "-c", command), r"thing (\d+)\.(\d+)", "get it there")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("echo thing 1.2", ""),
        ("echo thing 10.0", ""),
        ("echo thing 0.9", "found 0.9"),
        ("echo what", "failed: what"),
        ("echo broken >&2; exit 3", "failed: broken"),
    ],
)
def test_versions_of_tools(command: str, why: str) -> None:
    missing = tool(command).missing()
    assert why in missing
    assert bool(missing) == bool(why)


def test_a_package_says_all_it_lacks(tmp_path: Path) -> None:
    lacking = Tool("Other", (2, 1), ("no-such-program",), "", "get it elsewhere")
    package = Package("p", "1", (tool("echo thing 0.1"), lacking), (), lambda _: None, cache=tmp_path)
    with pytest.raises(BackendError) as error:
        package.install(lambda _: None)
    assert "Thing 1.0 or later (found 0.1). get it there" in str(error.value)
    assert "Other 2.1 or later (`no-such-program` is not on the PATH). get it elsewhere" in str(error.value)


def test_a_package_is_built_once_and_appears_whole(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        if len(built) == 1:
            raise BackendError("no network")

    package = Package("p", "1", (), (), build, cache=tmp_path)
    with pytest.raises(BackendError, match="no network"):
        package.install(lambda _: None)
    assert not package.folder.exists()
    assert package.install(lambda _: None) == package.install(lambda _: None) == tmp_path / "p-1"
    assert len(built) == 2


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HEADRACE_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c/backends"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/headrace/backends"),
        ({"HOME": "/h"}, "/h/.cache/headrace/backends"),
    ],
)
def test_where_the_cache_is(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ) == Path(folder)
