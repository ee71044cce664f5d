"""The rules of artifacts: what a path may be, in every encoding; what an upload must bring."""

import hashlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.artifacts.v1 import artifact_service_pb2 as pb
from headrace.api.artifacts.v1 import artifacts_pb2
from headrace_artifacts import rules
from headrace_kit.blobs.rules import checked_key
from headrace_kit.errors import DomainError, InvalidField

RUN = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "path",
    [
        "model",
        "plots/roc.png",
        "a b/c d.txt",
        "100%.png",
        "50%25",
        "a%20b",
        "..a/b..",
        "...",
        "日本語/モデル.bin",
        "a#b?c;d",
        ".hidden",
    ],
)
def test_paths_that_are_fine(path: str) -> None:
    assert rules.artifact_path(path, "path") == path


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "1 to 1,000 characters"),
        ("/etc/passwd", "relative"),
        ("C:/windows", "relative"),
        ("c:x", "relative"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        (".", '"." or ".."'),
        ("..", '"." or ".."'),
        ("a/../b", '"." or ".."'),
        ("a/./b", '"." or ".."'),
        ("a\\b", "backslash"),
        ("\\..\\..\\x", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("%2e%2e/x", '"." or ".."'),
        ("..%2fx", '"." or ".."'),
        ("%2E%2E%2Fx", '"." or ".."'),
        ("%252e%252e%252fx", '"." or ".."'),
        ("%25252e%25252e/x", '"." or ".."'),
        ("%2fetc/passwd", "relative"),
        ("%5c..%5cx", "backslash"),
        ("a%00b", "control"),
        ("%43:/x", "relative"),
        ("%2525252525252e", "percent-encoded"),
        ("x" * 1001, "at most 1,000 characters"),
        ("é" * 1000, None),
        ("日" * 700, "2,000 bytes"),
    ],
)
def test_paths_that_are_not(path: str, problem: str | None) -> None:
    if problem is None:
        assert rules.artifact_path(path, "path") == path
        return
    with pytest.raises(InvalidField) as refused:
        rules.artifact_path(path, "header.path")
    assert refused.value.field == "header.path"
    assert problem in refused.value.problem


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_path_that_passes_can_leave_its_folder(path: str) -> None:
    try:
        rules.artifact_path(path, "path")
    except InvalidField:
        return
    assert path
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))
    assert "\\" not in path
    assert "\0" not in path


@pytest.mark.parametrize(("folder", "expected"), [("", ""), ("plots", "plots"), ("plots/", "plots"), ("a/b/", "a/b")])
def test_folders(folder: str, expected: str) -> None:
    assert rules.folder_path(folder) == expected


@pytest.mark.parametrize("folder", ["/", "plots//", "..", "../", "/plots"])
def test_folders_that_are_not(folder: str) -> None:
    with pytest.raises(InvalidField) as refused:
        rules.folder_path(folder)
    assert refused.value.field == "folder"


@pytest.mark.parametrize(
    ("owner", "reason"),
    [
        (artifacts_pb2.Owner(run_id="x"), "RUN_NOT_FOUND"),
        (artifacts_pb2.Owner(run_id=RUN.upper()), "RUN_NOT_FOUND"),
        (artifacts_pb2.Owner(run_id="../" + RUN[3:]), "RUN_NOT_FOUND"),
        (artifacts_pb2.Owner(run_id="m-" + RUN), "RUN_NOT_FOUND"),
        (artifacts_pb2.Owner(model_id=RUN), "LOGGED_MODEL_NOT_FOUND"),
        (artifacts_pb2.Owner(), "INVALID_FIELD"),
    ],
)
def test_owners_that_cannot_be(owner: artifacts_pb2.Owner, reason: str) -> None:
    with pytest.raises(DomainError) as refused:
        rules.owner_id(owner, "owner")
    assert rules.error_reason_pb2.ErrorReason.Name(refused.value.reason) == f"ERROR_REASON_{reason}"


@pytest.mark.parametrize("owner", [artifacts_pb2.Owner(run_id=RUN), artifacts_pb2.Owner(model_id=f"m-{RUN}")])
def test_owners_there_and_back(owner: artifacts_pb2.Owner) -> None:
    assert rules.owner(rules.owner_id(owner, "owner")) == owner


@pytest.mark.parametrize(
    ("given_", "path", "expected"),
    [
        ("", "a.png", "image/png"),
        ("", "a.unknown", "application/octet-stream"),
        ("text/plain; charset=utf-8", "a.png", "text/plain; charset=utf-8"),
        ('multipart/x; boundary="a b"', "x", 'multipart/x; boundary="a b"'),
    ],
)
def test_media_types(given_: str, path: str, expected: str) -> None:
    assert rules.media_type(given_, path, "media_type") == expected


@pytest.mark.parametrize("text", ["html", "text/html\r\nx: y", "text/html<script>", "a/b;c", "a/" + "b" * 254, "é/b"])
def test_media_types_that_are_not(text: str) -> None:
    with pytest.raises(InvalidField, match="media_type"):
        rules.media_type(text, "x", "media_type")


def test_parts_are_one_byte_to_one_mebibyte() -> None:
    assert rules.part(b"x") == b"x"
    assert len(rules.part(bytes(1 << 20))) == 1 << 20
    for wrong in (b"", bytes((1 << 20) + 1)):
        with pytest.raises(InvalidField, match="1 to 1,048,576 bytes"):
            rules.part(wrong)


@pytest.mark.parametrize(
    ("size", "sha256", "field", "reason"),
    [
        (3, hashlib.sha256(b"abd").digest(), "trailer.sha256", "DIGEST_MISMATCH"),
        (2, hashlib.sha256(b"abc").digest(), "trailer.size_bytes", "DIGEST_MISMATCH"),
        (3, b"", "trailer.sha256", "INVALID_FIELD"),
        (3, hashlib.sha256(b"abc").hexdigest().encode(), "trailer.sha256", "INVALID_FIELD"),
    ],
)
def test_trailers_that_do_not_agree(size: int, sha256: bytes, field: str, reason: str) -> None:
    trailer = pb.UploadTrailer(size_bytes=size, sha256=sha256)
    with pytest.raises(InvalidField) as refused:
        rules.check_trailer(trailer, 3, hashlib.sha256(b"abc").digest())
    assert refused.value.field == field
    assert rules.error_reason_pb2.ErrorReason.Name(refused.value.reason) == f"ERROR_REASON_{reason}"


@pytest.mark.parametrize("tenant_id", ["default", "", "../..", "Ä", "a" * 500])
def test_blob_keys_are_of_the_stores_grammar_whatever_the_tenant(tenant_id: str) -> None:
    key = rules.blob_key(tenant_id, UUID(RUN))
    assert checked_key(key) == key
    assert tenant_id not in key or not tenant_id
