"""Reads the text of a filter or an order into a tree; the grammar stands in the package's docstring."""

from collections.abc import Callable, Sequence
from typing import Final, cast

from headrace_kit.errors import InvalidField
from headrace_kit.search.tokens import InvalidFilter, Token, TokenKind, tokens
from headrace_kit.search.tree import And, Comparison, Field, Filter, Kind, Not, Operator, Or, Order
from headrace_kit.search.vocabulary import DATASET_KEYS, Vocabulary

MAX_DEPTH: Final = 50
MAX_COMPARISONS: Final = 100  # each may become a subquery
MAX_ORDERS: Final = 10
_SYMBOLS: Final = ("=", "!=", ">", ">=", "<", "<=")
_TEXT_OPERATORS: Final = "=, !=, LIKE, ILIKE, IN, NOT IN, IS NULL or IS NOT NULL"
_NUMBER_OPERATORS: Final = "=, !=, >, >=, <, <=, IS NULL or IS NOT NULL"


def parse_filter(text: str, vocabulary: Vocabulary) -> Filter | None:
    """The filter; None for one without content, which every row matches. Raises InvalidFilter."""
    reader = _Reader("filter", text, vocabulary)
    if reader.peek().kind is TokenKind.END:
        return None
    found = reader.either()
    reader.end("AND, OR or the end")
    return found


def parse_order(texts: Sequence[str], vocabulary: Vocabulary) -> list[Order]:
    """The orders, the strongest first. Raises InvalidFilter, also for a field given twice."""
    if len(texts) > MAX_ORDERS:
        raise InvalidField("order_by", f"must have at most {MAX_ORDERS} entries, got {len(texts)}")
    found: list[Order] = []
    for number, text in enumerate(texts):
        reader = _Reader(f"order_by[{number}]", text, vocabulary)
        field = reader.field()
        descending = reader.take_word("DESC")
        if not descending:
            reader.take_word("ASC")
        reader.end("ASC, DESC or the end")
        if field.kind is Kind.DATASET:
            raise InvalidFilter(f"order_by[{number}]", 0, "a run has many datasets, it cannot be ordered by them")
        if any(order.field == field for order in found):
            raise InvalidFilter(f"order_by[{number}]", 0, f"{text.strip()!r} is ordered by already")
        found.append(Order(field, descending))
    return found


class _Reader:
    """Recursive descent: a method a rule of the grammar."""

    def __init__(self, name: str, text: str, vocabulary: Vocabulary) -> None:
        self._name = name
        self._tokens = tokens(name, text)
        self._vocabulary = vocabulary
        self._next = 0
        self._depth = 0
        self._comparisons = 0

    def peek(self) -> Token:
        return self._tokens[self._next]

    def take(self) -> Token:
        token = self.peek()
        if token.kind is not TokenKind.END:
            self._next += 1
        return token

    def take_word(self, word: str) -> bool:
        found = self._is_word(self.peek(), word)
        if found:
            self.take()
        return found

    def take_symbol(self, symbol: str) -> bool:
        token = self.peek()
        found = token.kind is TokenKind.SYMBOL and token.text == symbol
        if found:
            self.take()
        return found

    def end(self, expected: str) -> None:
        if self.peek().kind is not TokenKind.END:
            raise self._expected(expected, self.peek())

    def either(self) -> Filter:
        terms = self._joined("OR", self._all)
        return terms[0] if len(terms) == 1 else Or(terms)

    def _all(self) -> Filter:
        terms = self._joined("AND", self._one)
        return terms[0] if len(terms) == 1 else And(terms)

    def _joined(self, word: str, rule: Callable[[], Filter]) -> tuple[Filter, ...]:
        terms = [rule()]
        while self.take_word(word):
            terms.append(rule())
        return tuple(terms)

    def _one(self) -> Filter:
        start = self.peek()
        negated = self.take_word("NOT")
        if not negated and not self.take_symbol("("):
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidFilter(self._name, start.position, f"must not nest deeper than {MAX_DEPTH} levels")
        inner = Not(self._one()) if negated else self.either()
        if not negated and not self.take_symbol(")"):
            raise self._expected("AND, OR or )", self.peek())
        self._depth -= 1
        return inner

    def _comparison(self) -> Comparison:
        start = self.peek()
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise InvalidFilter(self._name, start.position, f"must have at most {MAX_COMPARISONS} comparisons")
        field = self.field()
        operator = self._operator(field)
        if operator in {"IS NULL", "IS NOT NULL"}:
            return Comparison(field, operator, None)
        if operator in {"IN", "NOT IN"}:
            return Comparison(field, operator, self._texts())
        return Comparison(field, operator, self._number() if self._vocabulary.is_numeric(field) else self._text())

    def field(self) -> Field:
        token = self.take()
        kind = Kind.ATTRIBUTE
        key = token.text
        if token.kind is TokenKind.WORD and "." in token.text:
            prefix, _, key = token.text.partition(".")
            if prefix.lower() not in self._vocabulary.prefixes:
                raise self._expected(f"one of the prefixes {', '.join(self._vocabulary.prefixes)}", token)
            kind = self._vocabulary.prefixes[prefix.lower()]
            if not key:
                key = self._quoted_key()
        elif token.kind not in {TokenKind.WORD, TokenKind.KEY, TokenKind.DOUBLE}:
            raise self._expected("a field such as metrics.loss or params.lr", token)
        return self._known(kind, key, token)

    def _quoted_key(self) -> str:
        token = self.peek()
        if token.kind not in {TokenKind.KEY, TokenKind.DOUBLE} or not token.adjacent or not token.text:
            raise self._expected("a key, in backticks where it has other characters than letters, digits, _.-/:", token)
        return self.take().text

    def _known(self, kind: Kind, key: str, token: Token) -> Field:
        if kind is Kind.DATASET and key.lower() not in DATASET_KEYS:
            raise self._expected(f"one of the dataset's {', '.join(DATASET_KEYS)}", token)
        if kind is not Kind.ATTRIBUTE:
            return Field(kind, key.lower() if kind is Kind.DATASET else key)
        known = self._vocabulary.attributes.get(key.lower().replace(" ", "_"))
        if known is None:
            raise self._expected(f"one of the attributes {', '.join(self._vocabulary.attributes)}", token)
        return known

    def _operator(self, field: Field) -> Operator:
        numeric = self._vocabulary.is_numeric(field)
        start = self.peek()
        operator = self._any_operator(_NUMBER_OPERATORS if numeric else _TEXT_OPERATORS)
        wrong = {"LIKE", "ILIKE", "IN", "NOT IN"} if numeric else {">", ">=", "<", "<="}
        if operator in wrong:
            raise self._expected(_NUMBER_OPERATORS if numeric else _TEXT_OPERATORS, start)
        return operator

    def _any_operator(self, expected: str) -> Operator:
        token = self.take()
        if token.kind is TokenKind.SYMBOL and token.text in _SYMBOLS:
            return cast("Operator", token.text)
        if self._is_word(token, "LIKE", "ILIKE", "IN"):
            return cast("Operator", token.text.upper())
        if self._is_word(token, "NOT") and self.take_word("IN"):
            return "NOT IN"
        if self._is_word(token, "IS"):
            negated = self.take_word("NOT")
            if self.take_word("NULL"):
                return "IS NOT NULL" if negated else "IS NULL"
            raise self._expected("NULL" if negated else "NULL or NOT NULL", self.peek())
        raise self._expected(expected, token)

    def _number(self) -> float:
        token = self.take()
        if token.kind is not TokenKind.NUMBER:
            raise self._expected("a number", token)
        return float(token.text)

    def _text(self) -> str:
        token = self.take()
        if token.kind not in {TokenKind.TEXT, TokenKind.DOUBLE}:
            raise self._expected("text in quotes", token)
        return token.text

    def _texts(self) -> tuple[str, ...]:
        if not self.take_symbol("("):
            raise self._expected("( and texts in quotes", self.peek())
        texts = [self._text()]
        while self.take_symbol(","):
            texts.append(self._text())
        if not self.take_symbol(")"):
            raise self._expected(", or )", self.peek())
        return tuple(texts)

    @staticmethod
    def _is_word(token: Token, *words: str) -> bool:
        return token.kind is TokenKind.WORD and token.text.upper() in words

    def _expected(self, expected: str, token: Token) -> InvalidFilter:
        return InvalidFilter(self._name, token.position, f"expected {expected}, got {token}")
