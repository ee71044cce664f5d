"""Two tenants on one platform: the second is let in by its first token and sees nothing of the first."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import headrace as hr
from fix_platform import Platform

HEADRACE = Path(sys.executable).with_name("headrace")


def create_tenant(platform: Platform, name: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [HEADRACE, "tenants", "create", name],
        env={**os.environ, **platform.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_first_token_opens_a_tenant_that_sees_no_other(platform: Platform) -> None:
    made = create_tenant(platform, "mill")
    assert made.returncode == 0, made.stderr
    with hr.connect(platform.uri) as baker, baker.start_run("secret recipe", capture=False) as run:
        run.log({"sweetness": 1.0}, step=0)
        run.flush(visible=True, timeout=30)
    with hr.connect(platform.uri, token=made.stdout.strip()) as miller:
        with pytest.raises(hr.errors.NotFound, match=run.id):
            miller.get_run(run.id)
        with pytest.raises(hr.errors.NotFound):
            miller.metric_history(run.id, "sweetness")
        with miller.start_run("grinding", capture=False) as own:
            own.log({"grain": 2.0}, step=0)
        assert [found.name for found in miller.search_runs()] == ["grinding"]
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}
    url = f"{platform.uri}/headrace.api.identity.v1.IdentityService/WhoAmI"
    assert httpx.post(url, json={}, headers=headers).json()["tenantId"] == "mill"


def test_wrong_words_are_told(platform: Platform) -> None:
    wrong = create_tenant(platform, "Mill!")
    assert wrong.returncode == 1
    assert "tenant_id: must be 1 to 63" in wrong.stderr
    forged = create_tenant(platform, "mill", HEADRACE_SERVICE_SECRET="guess")
    assert forged.returncode == 1
    assert "secret" in forged.stderr
