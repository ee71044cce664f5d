"""What the gateway passes on of a request to the services behind: its credentials and its trace, where they may be passed on."""

import re
from collections.abc import Mapping
from typing import Final

from headrace_kit.auth import SERVICE_PREFIX, token_invalid
from headrace_kit.telemetry import TRACEPARENT

_TRACEPARENT: Final = re.compile(r"[0-9a-f\-]{1,100}")  # what else came there would be refused as metadata


def checked_token(token: str) -> str:
    """The token itself. Raises DomainError TOKEN_INVALID for a service's secret, and for what no metadata can hold."""
    if token.startswith(SERVICE_PREFIX):
        raise token_invalid("services call one another over gRPC, not through the gateway")
    if not token.isascii() or not token.isprintable():
        raise token_invalid("the token must be printable ASCII")
    return token


def trace(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The trace of the request as metadata; none where the header is none."""
    value = headers.get(TRACEPARENT, "")
    return [(TRACEPARENT, value)] if _TRACEPARENT.fullmatch(value) else []
