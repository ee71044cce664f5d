"""Tickets: who holds one may do the one thing that it says, for a tenant, without other credentials, until it expires; pure.

A ticket is what it says and an HMAC-SHA256 of that by a key derived from the services' secret: any service of the
installation can check it, and nobody else can make one. It cannot be taken back before it expires.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Final, Literal

MOST_CHARACTERS: Final = 10_000
"""Of a ticket: the longest path takes half of them."""

Purpose = Literal["read", "write", "part"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What may be done."""

    purpose: Purpose
    """"read": the artifact of an id; "write": a file by owner id, path, media type; "part": any part of an upload by its id."""
    tenant_id: str
    expires: int
    """Unix time in seconds; from then on it is worth nothing."""
    names: tuple[str, ...]
    """Of what it may be done with, as the purpose says."""


def issue(secret: str, ticket: Ticket) -> str:
    """The ticket as text that can stand in a URL."""
    said = _text(json.dumps(astuple(ticket), separators=(",", ":")).encode())
    return f"{said}.{_signature(secret, said)}"


def redeem(secret: str, text: str, purpose: Purpose, now: datetime) -> Ticket:
    """The ticket. Raises ValueError, saying why, for what was not issued with this secret, has expired, or is for something else."""
    said, _, signature = text.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(secret, said).encode()):
        raise ValueError("it was not issued here, or was changed")
    found, tenant_id, expires, names = json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))
    if found != purpose:
        raise ValueError(f'it is to "{found}", not to "{purpose}"')
    if now.timestamp() >= expires:
        raise ValueError("it has expired, ask for another one")
    return Ticket(purpose, tenant_id, expires, tuple(names))


def _signature(secret: str, said: str) -> str:
    key = hmac.digest(secret.encode(), b"headrace tickets", hashlib.sha256)
    return _text(hmac.digest(key, said.encode(), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
