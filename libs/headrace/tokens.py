"""Tokens: the credentials of a tenant. Only an admin may see to them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from headrace.api.common.v1 import access_pb2
from headrace.api.identity.v1 import identity_pb2
from headrace.api.identity.v1 import identity_service_pb2 as wire
from headrace.connection import Connection
from headrace.records import time_in, timestamp

Role = Literal["viewer", "editor", "admin"]


@dataclass(frozen=True, slots=True)
class Token:
    """A credential, without its secret."""

    id: str
    name: str
    role: str
    create_time: datetime | None
    expire_time: datetime | None
    """None where it does not expire."""
    revoke_time: datetime | None
    """None where it is not revoked."""

    @classmethod
    def of(cls, message: identity_pb2.Token) -> "Token":
        """From the wire."""
        return cls(
            id=message.token_id,
            name=message.name,
            role=access_pb2.Role.Name(message.role).removeprefix("ROLE_").lower(),
            create_time=time_in(message, "create_time"),
            expire_time=time_in(message, "expire_time"),
            revoke_time=time_in(message, "revoke_time"),
        )


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made; nobody can ask for its secret again."""

    token: Token
    secret: str = field(repr=False)


class Tokens:
    """The tokens of the caller's tenant."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, role: Role = "editor", expire_time: datetime | None = None) -> NewToken:
        """Makes a token. Raises PermissionDenied where the caller is no admin."""
        request = wire.CreateTokenRequest(
            name=name,
            role=f"ROLE_{role.upper()}",
            expire_time=None if expire_time is None else timestamp(expire_time),
        )
        answer = self._connection.call(lambda c: c.identity.CreateToken, request, again=False)
        return NewToken(Token.of(answer.token), answer.secret)

    def list(self) -> tuple[Token, ...]:
        """All tokens, newest first, revoked ones too."""
        request = wire.ListTokensRequest(page_size=1_000)
        pages = self._connection.pages(lambda c: c.identity.ListTokens, request)
        return tuple(Token.of(each) for page in pages for each in page.tokens)

    def revoke(self, token_id: str) -> None:
        """Ends a token: refused everywhere within two seconds. Raises NotFound."""
        request = wire.RevokeTokenRequest(token_id=token_id)
        self._connection.call(lambda c: c.identity.RevokeToken, request)
