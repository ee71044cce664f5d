"""Cuts the text of a filter or an order into tokens."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from headrace.api.common.v1 import error_reason_pb2
from headrace_kit.errors import InvalidField

MAX_CHARACTERS: Final = 100_000


class InvalidFilter(InvalidField):
    """A filter or an order that is not understood, with the position: the number of the character, from 1."""

    def __init__(self, field: str, position: int, problem: str) -> None:
        super().__init__(
            field, f"{problem}, at character {position + 1}", reason=error_reason_pb2.ERROR_REASON_INVALID_FILTER
        )
        self.metadata["position"] = str(position + 1)


class TokenKind(Enum):
    """What a token can stand for."""

    WORD = "a word"  # a bare field or a keyword
    NUMBER = "a number"
    TEXT = "text in single quotes"
    DOUBLE = "text in double quotes"  # a value or a key
    KEY = "a key in backticks"
    SYMBOL = "a symbol"
    END = "the end"


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is without its quotes, `position` counts characters from 0."""

    kind: TokenKind
    text: str
    position: int
    adjacent: bool
    """Nothing stands between it and the token before."""

    def __str__(self) -> str:
        return "the end" if self.kind is TokenKind.END else repr(self.text)


_BLANKS: Final = re.compile(r"\s*")
_TOKEN: Final = re.compile(
    r"""
      (?P<WORD>   [^\W\d] [\w.\-/:]* )
    | (?P<NUMBER> [+-]? (?: \d+ (?: \.\d* )? | \.\d+ ) (?: [eE][+-]?\d+ )? (?! [\w.] ) )
    | ' (?P<TEXT>   (?: [^'] | '' )* ) '
    | " (?P<DOUBLE> (?: [^"] | "" )* ) "
    | ` (?P<KEY>    (?: [^`] | `` )* ) `
    | (?P<SYMBOL> >= | <= | != | [=<>(),] )
    """,
    re.VERBOSE,
)
_QUOTES: Final = {TokenKind.TEXT: "'", TokenKind.DOUBLE: '"', TokenKind.KEY: "`"}


def tokens(field: str, text: str) -> list[Token]:
    """All tokens with an END behind them. `field` names the text in errors. Raises InvalidFilter."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidFilter(
            field, MAX_CHARACTERS, f"must have at most {MAX_CHARACTERS:,} characters, got {len(text):,}"
        )
    if "\x00" in text:
        raise InvalidFilter(field, text.index("\x00"), "must not hold the character NUL")
    found: list[Token] = []
    end = 0
    while True:
        start = _blanks_end(text, end)
        if start == len(text):
            return [*found, Token(TokenKind.END, "", start, adjacent=False)]
        match = _TOKEN.match(text, start)
        if match is None or match.lastgroup is None:
            raise InvalidFilter(field, start, _unreadable(text[start:]))
        kind = TokenKind[match.lastgroup]
        quote = _QUOTES.get(kind, "")
        found.append(Token(kind, match[match.lastgroup].replace(quote * 2, quote or ""), start, start == end))
        end = match.end()


def _blanks_end(text: str, start: int) -> int:
    match = _BLANKS.match(text, start)
    return match.end() if match else start


def _unreadable(rest: str) -> str:
    if rest[0] in "'\"`":
        return f"expected a closing {rest[0]}"
    if rest[0].isdigit() or rest[0] in "+-.":
        return f"expected a number such as 0.5 or 1e-3, got {rest.split(maxsplit=1)[0][:40]!r}"
    return f"expected a field, a value or an operator, got {rest[0]!r}"
