"""Pages by key (AIP-158): a token says behind which row the next page begins, and which request it belongs to."""

import base64
import binascii
import hashlib
import json

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.errors import InvalidField


def page_size(requested: int, *, default: int, most: int) -> int:
    """The size to use: 0 means the default, more than `most` means `most`. Raises InvalidField when negative."""
    if requested < 0:
        raise InvalidField("page_size", f"must be 0 to {most}, got {requested}")
    return min(requested or default, most)


def encode(binding: object, key: list[str | int | float | None]) -> str:
    """A token for the page behind the row with this key. `binding`: what must stay the same (filter, order, parent)."""
    raw = json.dumps([_fingerprint(binding), key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(token: str, binding: object) -> list[str | int | float | None] | None:
    """The key in the token, None for the first page. Raises InvalidField for a token of another request."""
    if not token:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        fingerprint, key = json.loads(raw)
    except (binascii.Error, ValueError, TypeError):
        fingerprint, key = None, None
    if fingerprint != _fingerprint(binding) or not isinstance(key, list):
        raise invalid_token()
    return key


def invalid_token() -> InvalidField:
    """The error of a token of another request, also for whoever finds a key in it that no row can have."""
    return InvalidField(
        "page_token",
        "was not issued for this request; send the token of the page before with all other fields unchanged",
        reason=error_reason_pb2.ERROR_REASON_INVALID_PAGE_TOKEN,
    )


def _fingerprint(binding: object) -> str:
    return hashlib.sha256(repr(binding).encode()).hexdigest()[:16]
