"""Whether a run is started offline: the argument, else the environment."""

import os
from typing import Final, Literal

from headrace import errors
from headrace.ingest.recordfile import supported

Offline = Literal["no", "yes", "auto"]

VARIABLE: Final = "HEADRACE_OFFLINE"
_WORDS: Final[dict[str, Offline]] = {
    **dict.fromkeys(("", "0", "false", "no"), "no"),
    **dict.fromkeys(("1", "true", "yes"), "yes"),
    "auto": "auto",
}


def chosen(asked: bool | Literal["auto"] | None) -> Offline:
    """What was asked for; HEADRACE_OFFLINE where nothing was. Raises InvalidRequest for another word, or without a spool."""
    if asked is None:
        word = os.environ.get(VARIABLE, "").strip().lower()
    else:
        word = asked if isinstance(asked, str) else str(asked).lower()
    found = _WORDS.get(word)
    if found is None:
        raise errors.InvalidRequest(f"offline: must be 1, 0 or auto ({VARIABLE}, or the argument), got {word!r:.80}")
    if found == "yes" and not supported():
        raise errors.InvalidRequest("offline: this system cannot lock files as the spool needs it; start without it")
    return found
