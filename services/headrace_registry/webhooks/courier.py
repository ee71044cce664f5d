"""What one delivery says of itself, and what becomes of it: signature, judgement, and when to try again."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Protocol
from uuid import UUID

from headrace_registry.webhooks.post import Answer, NoAnswer, OutOfReach
from headrace_registry.webhooks.seal import CannotUnseal, Seal

DELIVERY_ID: Final = "X-MLflow-Delivery-Id"
TIMESTAMP: Final = "X-MLflow-Timestamp"
SIGNATURE: Final = "X-MLflow-Signature"

_GROWTH: Final = 8
_LONGEST_S: Final = 3_600.0


class Post(Protocol):
    """See `Poster.post`."""

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Posts once."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attempt."""

    status: int
    """Of the answer; 0 for none."""
    body: bytes
    problem: str
    """Empty where it was delivered."""
    again: bool
    """Another attempt may help."""
    retry_after_s: float = 0.0
    """The receiver asked to wait so long."""

    @property
    def delivered(self) -> bool:
        """The receiver has it."""
        return not self.problem


class Courier:
    """Takes a body to a webhook's address, from any thread."""

    def __init__(self, post: Post, seal: Seal, *, now: Callable[[], float] = time.time) -> None:
        self._post = post
        self._seal = seal
        self._now = now

    def deliver(
        self, tenant_id: str, webhook_id: UUID, url: str, sealed: bytes, delivery_id: UUID, body: bytes
    ) -> Outcome:
        """One attempt. Raises nothing that the receiver or its address could bring about."""
        now = self._now()
        try:
            secret = self._seal.unseal(sealed, tenant_id, webhook_id)
            return judged(self._post(url, body, headers(str(delivery_id), int(now), body, secret)), now)
        except (OutOfReach, CannotUnseal) as error:
            return Outcome(0, b"", str(error), again=False)
        except NoAnswer as error:
            return Outcome(0, b"", str(error), again=True)


def headers(delivery_id: str, timestamp: int, body: bytes, secret: str) -> dict[str, str]:
    """Of one attempt; signed as MLflow and Standard Webhooks do it, where there is a secret."""
    made = {"Content-Type": "application/json", DELIVERY_ID: delivery_id, TIMESTAMP: str(timestamp)}
    if secret:
        made[SIGNATURE] = signature(delivery_id, timestamp, body, secret)
    return made


def signature(delivery_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """Version and base64 of the HMAC-SHA256 of "id.timestamp.body"."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


def judged(answer: Answer, now: float) -> Outcome:
    """What an answer means: 429 and 5xx may pass, all else but 2xx will not."""
    if 200 <= answer.status < 300:
        return Outcome(answer.status, answer.body, "", again=False)
    problem = f"the receiver answered {answer.status}"
    if 300 <= answer.status < 400:
        return Outcome(answer.status, answer.body, f"{problem}, and redirects are not followed", again=False)
    again = answer.status == 429 or answer.status >= 500
    return Outcome(answer.status, answer.body, problem, again, retry_after(answer.retry_after, now) if again else 0.0)


def retry_after(text: str, now: float) -> float:
    """Seconds, from seconds or a date; 0 for what is neither, and for a time that is past."""
    if text.isascii() and text.isdecimal():
        return float(text[:12])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)


def pause(attempts: int, first_s: float, asked_s: float, chance: float) -> float:
    """Seconds before the next attempt, after so many (1 or more) in vain.

    Eight times as long each time, and up to half as much more as `chance` (0 to 1) has it; not less than the receiver
    asked for; at most an hour.
    """
    longer = first_s * float(_GROWTH) ** min(attempts - 1, 20) * (1 + chance / 2)
    return min(max(longer, asked_s), _LONGEST_S)
