"""Keeps the secrets of webhooks: encrypted, and bound to the webhook whose they are."""

import hashlib
import hmac
import os
from typing import Any, Final
from uuid import UUID

from Crypto.Cipher import AES

_FORM: Final = b"\x01"  # of what follows: nonce, tag, text
_NONCE: Final = 12
_TAG: Final = 16


class CannotUnseal(Exception):  # noqa: N818 - says what it is
    """What is kept was not encrypted with this key, or not for this webhook."""


class Seal:
    """AES-256-GCM with a key made of the text that the settings have."""

    def __init__(self, key: str) -> None:
        self._key = hmac.digest(key.encode(), b"headrace: secrets of webhooks", hashlib.sha256)

    def seal(self, secret: str, tenant_id: str, webhook_id: UUID) -> bytes:
        """What is kept of a secret; nothing of an empty one."""
        if not secret:
            return b""
        nonce = os.urandom(_NONCE)
        text, tag = self._cipher(nonce, tenant_id, webhook_id).encrypt_and_digest(secret.encode())
        return b"".join((_FORM, nonce, tag, text))

    def unseal(self, kept: bytes, tenant_id: str, webhook_id: UUID) -> str:
        """The secret. Raises CannotUnseal."""
        if not kept:
            return ""
        nonce, rest = kept[1 : 1 + _NONCE], kept[1 + _NONCE :]
        try:
            text = self._cipher(nonce, tenant_id, webhook_id).decrypt_and_verify(rest[_TAG:], rest[:_TAG])
        except ValueError:
            raise CannotUnseal("its secret was encrypted with another key than this process has") from None
        return bytes(text).decode()

    def _cipher(self, nonce: bytes, tenant_id: str, webhook_id: UUID) -> Any:
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=nonce, mac_len=_TAG)
        cipher.update(f"{tenant_id}/{webhook_id}".encode())
        return cipher
