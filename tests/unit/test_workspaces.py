"""How workspaces become tenants, and what it costs to know that one is there."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.common.v1 import access_pb2, error_reason_pb2
from headrace_identity import rules
from headrace_kit import names, workspaces
from headrace_kit.auth import AUTHORIZATION, WORKSPACE, Authenticator, service_metadata, workspace_not_found
from headrace_kit.errors import DomainError, InvalidField
from headrace_kit.tenancy import Caller

TENANTS = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)
WORKSPACES = st.one_of(
    st.just(workspaces.DEFAULT),
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", fullmatch=True).filter(lambda name: name != "api"),
)
PAIRS = st.tuples(TENANTS, WORKSPACES)


@given(PAIRS, PAIRS)
def test_no_two_workspaces_are_the_same_tenant(one: tuple[str, str], other: tuple[str, str]) -> None:
    for tenant, workspace in (one, other):
        rules.check_tenant_id(tenant)
        assert workspaces.checked(workspace) == workspace
        derived = workspaces.within(tenant, workspace)
        assert workspaces.split(derived) == (tenant, workspace)
        assert names.tenant_of(names.run(derived, "1", "2")) == derived
    assert (workspaces.within(*one) == workspaces.within(*other)) == (one == other)


@given(PAIRS, PAIRS)
def test_no_workspaces_names_begin_with_those_of_another(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Subscriptions filter by the beginning of a name."""
    if one != other:
        assert not names.model(workspaces.within(*one), "m").startswith(names.tenant(workspaces.within(*other)) + "/")


@given(st.text(max_size=70))
def test_a_name_is_refused_or_is_one(name: str) -> None:
    try:
        workspaces.checked(name)
    except InvalidField:
        return
    assert 2 <= len(name) <= 63
    assert workspaces.split(workspaces.within("t", name)) == ("t", name)
    with pytest.raises(InvalidField):
        rules.check_tenant_id(f"t.{name}")


class Known:
    """Knows one token of each of two tenants, and counts what it is asked."""

    def __init__(self, *there: tuple[str, str]) -> None:
        self.there = set(there)
        self.asked: Counter[str] = Counter()

    async def resolve(self, token: str) -> Caller:
        self.asked["tokens"] += 1
        return Caller(token, access_pb2.ROLE_EDITOR)

    async def check_workspace(self, tenant_id: str, name: str) -> None:
        self.asked["workspaces"] += 1
        if (tenant_id, name) not in self.there:
            raise workspace_not_found(name)


def of(tenant: str, workspace: str | None = None) -> dict[str, str]:
    named = {} if workspace is None else {WORKSPACE: workspace}
    return {AUTHORIZATION: f"Bearer {tenant}", **named}


async def tenant_of(authenticate: Authenticator, metadata: dict[str, str], *, of_tenant: bool = False) -> str:
    who = await authenticate(metadata, of_tenant=of_tenant)
    assert who is not None
    return who.tenant_id


async def test_who_names_no_workspace_pays_nothing_and_who_names_one_asks_once() -> None:
    known = Known(("mill", "team"))
    authenticate = Authenticator("token", "s", known)
    for _ in range(50):
        assert await tenant_of(authenticate, of("mill")) == "mill"
        assert await tenant_of(authenticate, of("mill", "default")) == "mill"
        assert await tenant_of(authenticate, of("mill", "nowhere"), of_tenant=True) == "mill"
    assert known.asked == {"tokens": 1}
    for _ in range(50):
        assert await tenant_of(authenticate, of("mill", "team")) == "mill.team"
    assert known.asked == {"tokens": 1, "workspaces": 1}


async def test_a_tenants_workspace_is_no_other_tenants() -> None:
    authenticate = Authenticator("token", "s", Known(("mill", "team")))
    assert await tenant_of(authenticate, of("mill", "team")) == "mill.team"
    with pytest.raises(DomainError) as refused:
        await authenticate(of("bakery", "team"))
    assert refused.value.reason == error_reason_pb2.ERROR_REASON_WORKSPACE_NOT_FOUND
    for forged in ("mill.team", "../mill", "team\n", "TEAM", "", " "):
        with pytest.raises(InvalidField):
            await authenticate(of("bakery", forged))


async def test_one_that_was_not_there_is_found_once_it_is() -> None:
    known = Known()
    authenticate = Authenticator("token", "s", known)
    with pytest.raises(DomainError):
        await authenticate(of("mill", "team"))
    known.there.add(("mill", "team"))
    assert await tenant_of(authenticate, of("mill", "team")) == "mill.team"


async def test_a_service_names_the_workspace_in_the_tenant() -> None:
    known = Known()
    metadata = {**dict(service_metadata("s", "mill.team")), WORKSPACE: "other"}
    assert await tenant_of(Authenticator("token", "s", known), metadata) == "mill.team"
    assert not known.asked
