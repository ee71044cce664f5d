"""The gateway over HTTP, in front of the real identity service."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2

from fix_services import as_tenant, identity_stub, running
from headrace.api.common.v1 import access_pb2
from headrace.api.identity.v1 import identity_service_pb2 as pb
from headrace_gateway import app as gateway
from headrace_identity import app as identity
from headrace_kit.config import ConfigError, load

SERVICE = "/headrace.api.identity.v1.IdentityService"


@asynccontextmanager
async def door(
    database: str, public_grpc: tuple[str, ...] = (), **settings: object
) -> AsyncIterator[tuple[httpx.AsyncClient, grpc.aio.Channel]]:
    """A client of the gateway, and a channel to the identity service behind it."""
    async with running(database, identity, **settings) as behind:
        apart = {"identity": behind.address, "http_listen": "127.0.0.1:0", "public_grpc": public_grpc}
        async with running(database, gateway, **apart, **settings) as front:
            (http,) = front.runner.fronts
            async with httpx.AsyncClient(base_url=f"http://{http.address}") as client:
                yield client, behind.channel


async def test_json_for_people(database: str) -> None:
    async with door(database) as (client, _):
        made = await client.post(f"{SERVICE}/CreateToken", json={"name": "ci", "role": "ROLE_EDITOR"})
        assert made.status_code == 200
        assert made.json()["token"]["tenantId"] == "default"
        me = await client.post(
            f"{SERVICE}/WhoAmI", json={}, headers={"authorization": f"Bearer {made.json()['secret']}"}
        )
        assert me.json() == {"tenantId": "default", "role": "ROLE_EDITOR", "tokenId": made.json()["token"]["tokenId"]}


async def test_protobuf_for_typed_clients(database: str) -> None:
    async with door(database) as (client, _):
        answer = await client.post(
            f"{SERVICE}/WhoAmI",
            content=pb.WhoAmIRequest().SerializeToString(),
            headers={"content-type": "application/proto"},
        )
        assert answer.headers["content-type"] == "application/proto"
        assert pb.WhoAmIResponse.FromString(answer.content).role == access_pb2.ROLE_ADMIN


async def test_errors_in_connects_form(database: str) -> None:
    async with door(database) as (client, _):
        refused = await client.post(f"{SERVICE}/CreateToken", json={"name": "", "role": "ROLE_EDITOR"})
        assert refused.status_code == 400
        body = refused.json()
        assert body["code"] == "invalid_argument"
        assert body["message"].startswith("name: must be")
        (info,) = [d for d in body["details"] if d["type"] == "google.rpc.ErrorInfo"]
        raw = base64.b64decode(info["value"] + "==")
        assert error_details_pb2.ErrorInfo.FromString(raw).reason == "INVALID_FIELD"
        assert info["debug"]["domain"] == "headrace"


async def test_malformed_requests_are_told_why(database: str) -> None:
    async with door(database) as (client, _):
        url = f"{SERVICE}/WhoAmI"
        cases = [
            (await client.post(url, content=b"{", headers={"content-type": "application/json"}), 400),
            (await client.post(url, json={"no_such": 1}), 400),
            (await client.post(url, content=b"", headers={"content-type": "text/plain"}), 415),
            (await client.post(url, json={}, headers={"connect-timeout-ms": "soon"}), 400),
            (await client.get(url), 405),
            (await client.post(f"{SERVICE}/Nothing", json={}), 404),
            (await client.post(f"{SERVICE}/ResolveToken", json={"secret": "x"}), 404),
            (await client.post(url, content=b"x" * (9 << 20), headers={"content-type": "application/proto"}), 429),
        ]
        for answer, status in cases:
            assert answer.status_code == status, answer.text
            assert {"code", "message"} <= set(json.loads(answer.text))


async def test_tokens_are_asked_for(database: str) -> None:
    async with door(database, auth="token") as (client, channel):
        assert (await client.post(f"{SERVICE}/WhoAmI", json={})).status_code == 401
        forged = {"authorization": "Bearer hrs_secret-of-the-tests"}
        assert (await client.post(f"{SERVICE}/WhoAmI", json={}, headers=forged)).status_code == 401
        for odd in ("Bearer t\xf6ken", "Bearer a\tb"):
            given = {b"authorization": odd.encode("latin-1"), b"traceparent": b"\xff"}
            assert (await client.post(f"{SERVICE}/WhoAmI", json={}, headers=given)).status_code == 401
        assert (await client.post("/serving/wine/invocations", json={})).status_code == 401
        wrong = {"authorization": "Bearer hr_nobody"}
        unknown = await client.post("/serving/wine/invocations", json={}, headers=wrong)
        assert (unknown.status_code, unknown.json()["error_code"]) == (401, "UNAUTHENTICATED")
        made = await identity_stub(channel).CreateToken(
            pb.CreateTokenRequest(name="x", role=access_pb2.ROLE_VIEWER), metadata=as_tenant("bakery")
        )
        known = {"authorization": f"Bearer {made.secret}"}
        assert (await client.post(f"{SERVICE}/WhoAmI", json={}, headers=known)).json()["tenantId"] == "bakery"
        odd_trace = {b"authorization": known["authorization"].encode(), b"traceparent": b"caf\xe9"}
        assert (await client.post(f"{SERVICE}/WhoAmI", json={}, headers=odd_trace)).status_code == 200
        nothing = await client.post("/serving/wine/invocations", json={}, headers=known)
        assert nothing.status_code == 404
        assert "promote" in nothing.json()["message"]


async def test_requests_wait_for_an_identity_service_that_restarts(database: str) -> None:
    async with running(database, identity, auth="token") as before:
        made = await identity_stub(before.channel).CreateToken(
            pb.CreateTokenRequest(name="x", role=access_pb2.ROLE_VIEWER), metadata=as_tenant("bakery")
        )
        address = before.address
    known = {"authorization": f"Bearer {made.secret}"}
    async with running(database, gateway, identity=address, http_listen="127.0.0.1:0", auth="token") as front:
        (listening,) = front.runner.fronts
        async with httpx.AsyncClient(base_url=f"http://{listening.address}", timeout=20) as client:
            away = await client.post("/serving/wine/invocations", json={}, headers=known)
            assert (away.status_code, away.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
            assert "identity" in away.json()["message"]
            waiting = asyncio.create_task(client.post("/serving/wine/invocations", json={}, headers=known))
            await asyncio.sleep(0.5)
            async with running(database, identity, auth="token", listen=address):
                assert (await waiting).status_code == 404  # let in, and nothing is deployed


async def test_foreign_hosts_and_origins_are_refused(database: str) -> None:
    async with door(database) as (client, _):
        assert (await client.get("/version", headers={"host": "evil.example"})).status_code == 403
        assert (await client.get("/version", headers={"origin": "http://evil.example"})).status_code == 403
        own = str(client.base_url).rstrip("/")
        assert (await client.get("/version", headers={"origin": own})).status_code == 200


async def test_health_names_what_is_away(database: str) -> None:
    async with door(database) as (client, _):
        health = await client.get("/health")
        assert health.status_code == 503
        assert "tracking" in health.text
        assert "identity" not in health.text
        directory = (await client.get("/.well-known/headrace")).json()["grpc"]
        assert directory["headrace.api.tracking.v1.IngestService"] == "127.0.0.1:7101"
        page = await client.get("/")
        assert "identity" in page.text


async def test_discovery_tells_what_clients_can_reach(database: str) -> None:
    async with door(database, public_grpc=(":7000", "tracking=ingest.example:443")) as (client, _):
        directory = (await client.get("/.well-known/headrace")).json()["grpc"]
        assert directory["headrace.api.tracking.v1.TrackingService"] == "ingest.example:443"
        assert directory["headrace.api.identity.v1.IdentityService"] == ":7000"


@pytest.mark.parametrize("wrong", ["tracking", "host", "traking=:1", "tracking=:0", ":70000", "=:1"])
def test_public_addresses_that_cannot_be_used_are_told(wrong: str) -> None:
    with pytest.raises(ConfigError, match="HEADRACE_PUBLIC_GRPC: "):
        load(gateway.Config, {"HEADRACE_SERVICE_SECRET": "s", "HEADRACE_PUBLIC_GRPC": wrong})
