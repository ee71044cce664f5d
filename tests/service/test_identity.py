"""The identity service through its gRPC port: tokens open what they should, and nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from fix_services import as_tenant, identity_stub, running
from headrace.api.common.v1 import access_pb2
from headrace.api.identity.v1 import identity_service_pb2 as pb
from headrace_identity import app
from headrace_kit import rpc


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


def reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc.status_of_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    return info.reason


async def test_token_opens_its_tenant_with_its_role_until_revoked(database: str) -> None:
    async with running(database, app, auth="token") as services:
        identity = identity_stub(services.channel)
        made = await identity.CreateToken(
            pb.CreateTokenRequest(name="ci", role=access_pb2.ROLE_ADMIN), metadata=as_tenant("bakery")
        )
        me = await identity.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(made.secret))
        assert (me.tenant_id, me.role, me.token_id) == ("bakery", access_pb2.ROLE_ADMIN, made.token.token_id)

        listed = await identity.ListTokens(pb.ListTokensRequest(), metadata=bearer(made.secret))
        assert [token.name for token in listed.tokens] == ["ci"]
        assert made.secret not in str(listed)

        await identity.RevokeToken(pb.RevokeTokenRequest(token_id=made.token.token_id), metadata=bearer(made.secret))
        await asyncio.sleep(1.5)  # the answer to a token may be kept for a second
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(made.secret))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert reason(refused.value) == "TOKEN_INVALID"
        assert "revoked" in (refused.value.details() or "")


async def test_without_token_nothing_opens(database: str) -> None:
    async with running(database, app, auth="token") as services:
        identity = identity_stub(services.channel)
        for metadata, expected in (
            (None, "TOKEN_MISSING"),
            (bearer("hrt_guess"), "TOKEN_INVALID"),
            (bearer("hrs_guess"), "TOKEN_INVALID"),
            ((("authorization", "Basic dTpw"),), "TOKEN_INVALID"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await identity.WhoAmI(pb.WhoAmIRequest(), metadata=metadata)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert reason(refused.value) == expected


async def test_role_too_low_is_told(database: str) -> None:
    async with running(database, app, auth="token") as services:
        identity = identity_stub(services.channel)
        made = await identity.CreateToken(
            pb.CreateTokenRequest(name="reader", role=access_pb2.ROLE_VIEWER), metadata=as_tenant("bakery")
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity.ListTokens(pb.ListTokensRequest(), metadata=bearer(made.secret))
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert reason(refused.value) == "ROLE_TOO_LOW"
        assert "ADMIN" in (refused.value.details() or "")


async def test_tenants_do_not_see_each_others_tokens(database: str) -> None:
    async with running(database, app) as services:
        identity = identity_stub(services.channel)
        made = {
            tenant: await identity.CreateToken(
                pb.CreateTokenRequest(name=f"of {tenant}", role=access_pb2.ROLE_EDITOR), metadata=as_tenant(tenant)
            )
            for tenant in ("bakery", "mill")
        }
        listed = await identity.ListTokens(pb.ListTokensRequest(), metadata=as_tenant("mill"))
        assert [token.name for token in listed.tokens] == ["of mill"]
        request = pb.RevokeTokenRequest(token_id=made["bakery"].token.token_id)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity.RevokeToken(request, metadata=as_tenant("mill"))
        assert reason(refused.value) == "TOKEN_NOT_FOUND"


async def test_pages_show_each_token_once(database: str) -> None:
    async with running(database, app) as services:
        identity = identity_stub(services.channel)
        for number in range(7):
            await identity.CreateToken(pb.CreateTokenRequest(name=f"t{number}", role=access_pb2.ROLE_VIEWER))
        names, token = [], ""
        while True:
            page = await identity.ListTokens(pb.ListTokensRequest(page_size=3, page_token=token))
            names += [t.name for t in page.tokens]
            token = page.next_page_token
            if not token:
                break
        assert names == [f"t{number}" for number in reversed(range(7))]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity.ListTenants(pb.ListTenantsRequest(page_token="bogus"), metadata=as_tenant(""))
        assert reason(refused.value) == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateTokenRequest(name="", role=access_pb2.ROLE_VIEWER), "name"),
        (pb.CreateTokenRequest(name="x" * 201, role=access_pb2.ROLE_VIEWER), "name"),
        (pb.CreateTokenRequest(name="x", role=access_pb2.ROLE_SERVICE), "role"),
        (
            pb.CreateTokenRequest(
                name="x",
                role=access_pb2.ROLE_VIEWER,
                expire_time=Timestamp(seconds=int((datetime.now(UTC) - timedelta(hours=1)).timestamp())),
            ),
            "expire_time",
        ),
    ],
)
async def test_bad_input_names_the_field(database: str, request_: pb.CreateTokenRequest, field: str) -> None:
    async with running(database, app) as services:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity_stub(services.channel).CreateToken(request_)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (refused.value.details() or "").startswith(f"{field}: must be")
