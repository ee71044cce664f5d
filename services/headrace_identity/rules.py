"""What tenants and tokens may look like; pure."""

import hashlib
import hmac
import re
from datetime import datetime
from typing import Final

from headrace.api.common.v1 import access_pb2
from headrace_kit.errors import InvalidField

_TENANT: Final = re.compile(r"^[a-z][a-z0-9-]{0,62}$")
_GRANTABLE: Final = (access_pb2.ROLE_VIEWER, access_pb2.ROLE_EDITOR, access_pb2.ROLE_ADMIN)
TOKEN_PREFIX: Final = "hrt_"  # noqa: S105 - a prefix that makes leaked tokens easy to find


def check_tenant_id(tenant_id: str) -> None:
    """Raises InvalidField."""
    if not _TENANT.match(tenant_id):
        raise InvalidField(
            "tenant_id",
            f'must be 1 to 63 lower-case letters, digits and "-", beginning with a letter; got {tenant_id!r}',
        )


def check_token(name: str, role: access_pb2.Role, expire_time: datetime | None, now: datetime) -> None:
    """Raises InvalidField."""
    if not 1 <= len(name) <= 200:
        raise InvalidField("name", f"must be 1 to 200 characters, got {len(name)}")
    if role not in _GRANTABLE:
        raise InvalidField("role", "must be ROLE_VIEWER, ROLE_EDITOR or ROLE_ADMIN")
    if expire_time is not None and expire_time <= now:
        raise InvalidField("expire_time", f"must be in the future, got {expire_time.isoformat()}")


def secret_from(random: bytes) -> str:
    """The token as its holder sees it, from 32 random bytes."""
    return TOKEN_PREFIX + random.hex()


def digest(secret: str, key: str) -> bytes:
    """What is kept of a token."""
    return hmac.digest(key.encode(), secret.encode(), hashlib.sha256)
