"""Every method of every service, as its .proto says: who is let in, who is not."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from fix_services import SECRET, Running, identity_stub, running
from headrace.api.common.v1 import access_pb2
from headrace.api.deployment.v1 import route_service_pb2
from headrace.api.identity.v1 import identity_pb2
from headrace.api.identity.v1 import identity_service_pb2 as identity_pb
from headrace_gateway.services import DESCRIPTORS
from headrace_kit import rpc
from headrace_kit.auth import WORKSPACE, service_metadata
from headrace_kit.bus.choose import ensure_all_topics
from headrace_kit.config import ServiceConfig
from headrace_server.services import NAMES

ROLES = (access_pb2.ROLE_VIEWER, access_pb2.ROLE_EDITOR, access_pb2.ROLE_ADMIN)
SERVICES = [
    *(descriptor for descriptors in DESCRIPTORS.values() for descriptor in descriptors),
    route_service_pb2.DESCRIPTOR.services_by_name["RouteService"],
]
METHODS: list[MethodDescriptor] = [
    method
    for service in SERVICES
    for method in service.methods
    if method.name != "ResolveToken"  # its answer to an unknown token is UNAUTHENTICATED; test_gateway.py has it
]
KEPT_OUT = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


async def requests(count: int) -> AsyncIterator[bytes]:
    """So many empty requests, on a stream that then stays open."""
    for _ in range(count):
        yield b""
    await asyncio.Event().wait()


@asynccontextmanager
async def everything(database: str, folder: Path) -> AsyncIterator[Running]:
    """All services but the gateway in one process, with tokens."""
    apps = [importlib.import_module(f"headrace_{name}.app") for name in NAMES if name != "gateway"]
    settings = {"blobs_dir": folder / "blobs", "work_dir": folder / "work"}
    await asyncio.to_thread(ensure_all_topics, ServiceConfig(database=database))
    async with running(database, *apps, auth="token", **settings) as services:
        yield services


async def outcome(
    services: Running, method: MethodDescriptor, metadata: tuple[tuple[str, str], ...], *, let_in: bool
) -> grpc.StatusCode:
    """What an empty request gets: OK when there is an answer, DEADLINE_EXCEEDED when a stream stays open for a moment.

    Who is refused sends nothing on a stream of requests: a grpc.aio client whose write meets a call that has already
    ended says INTERNAL in place of the server's status.
    """
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
    make = getattr(services.channel, kind)(path)
    request = requests(1 if let_in else 0) if method.client_streaming else b""
    call = make(request, metadata=metadata, timeout=1 if let_in else 30)
    try:
        if method.server_streaming:
            async for _ in call:
                return grpc.StatusCode.OK
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_every_method_lets_in_whom_its_proto_says(database: str, tmp_path: Path) -> None:
    wrong: list[str] = []
    async with everything(database, tmp_path) as services:
        identity = identity_stub(services.channel)
        tokens = {access_pb2.ROLE_SERVICE: service_metadata(SECRET, "bakery")}
        for role in ROLES:
            made = await identity.CreateToken(
                identity_pb.CreateTokenRequest(name="matrix", role=role), metadata=tokens[access_pb2.ROLE_SERVICE]
            )
            tokens[role] = (("authorization", f"Bearer {made.secret}"),)
        for method in METHODS:
            least = rpc.access_of(method).role
            code = await outcome(services, method, (), let_in=False)
            if code != grpc.StatusCode.UNAUTHENTICATED:
                wrong.append(f"{method.full_name} answers without a token: {code}")
            for role, metadata in tokens.items():
                code = await outcome(services, method, metadata, let_in=role >= least)
                if role < least and code != grpc.StatusCode.PERMISSION_DENIED:
                    wrong.append(f"{method.full_name} lets role {role} in: {code}")
                if role >= least and code in KEPT_OUT:
                    wrong.append(f"{method.full_name} keeps role {role} out: {code}")
                if code == grpc.StatusCode.INTERNAL:
                    wrong.append(f"{method.full_name} fails on an empty request")
    assert not wrong, "\n".join(wrong)


async def test_every_method_but_the_tenants_asks_for_the_workspace(database: str, tmp_path: Path) -> None:
    wrong: list[str] = []
    async with everything(database, tmp_path) as services:
        identity = identity_stub(services.channel)
        admin = identity_pb.CreateTokenRequest(name="matrix", role=access_pb2.ROLE_ADMIN)
        made = await identity.CreateToken(admin, metadata=service_metadata(SECRET, "bakery"))
        outside = (("authorization", f"Bearer {made.secret}"),)
        await identity.CreateWorkspace(
            identity_pb.CreateWorkspaceRequest(workspace=identity_pb2.Workspace(name="oven")), metadata=outside
        )
        for method in METHODS:
            access = rpc.access_of(method)
            if access.role == access_pb2.ROLE_SERVICE:
                continue
            known = await outcome(services, method, (*outside, (WORKSPACE, "oven")), let_in=True)
            if known in {*KEPT_OUT, grpc.StatusCode.INTERNAL}:
                wrong.append(f"{method.full_name} in a workspace: {known}")
            if access.resource == access_pb2.RESOURCE_TENANT:
                without = await outcome(services, method, outside, let_in=True)
                unknown = await outcome(services, method, (*outside, (WORKSPACE, "attic")), let_in=True)
                if without != unknown:
                    wrong.append(f"{method.full_name} heeds the workspace: {unknown} for {without}")
            else:
                unknown = await outcome(services, method, (*outside, (WORKSPACE, "attic")), let_in=False)
                if unknown != grpc.StatusCode.NOT_FOUND:
                    wrong.append(f"{method.full_name} answers in a workspace that is none: {unknown}")
    assert not wrong, "\n".join(wrong)


def test_method_without_access_stops_the_start() -> None:
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="silent.proto", package="silent", syntax="proto3")
    file.message_type.add(name="M")
    file.service.add(name="S").method.add(name="Do", input_type=".silent.M", output_type=".silent.M")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    with pytest.raises(rpc.PolicyMissing, match=r"/silent\.S/Do"):
        rpc.policies([pool.FindServiceByName("silent.S")])
