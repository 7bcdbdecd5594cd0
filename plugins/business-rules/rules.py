"""One rule: whom it is for, what it looks at, and whether a call breaks it. Knows nothing of the gateway."""

import json
import re
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase

import window

# A value that a call does not have. None is JSON's null.
ABSENT = object()

CONDITIONS = ("required", "min", "max", "min_length", "max_length", "in", "not_in", "pattern")


class BadRule(Exception):
    """A rule that makes no sense, with the reason for the operator."""


class Rule:
    """A rule of the configuration, checked."""

    def __init__(self, table, place):
        self._place = place
        self._table = table
        self._deployment = table.get("deployment", "*")
        self._function = table.get("function", "*")
        self._except_callers = table.get("except_callers", [])
        self.status = int(table.get("status", 422))
        self.code = table.get("code", "rule_violated")
        self.message = table.get("message")
        self._subject = self._only("argument", "header", "hours", "days")
        self._conditions = {name: table[name] for name in CONDITIONS if name in table}
        if self._subject in ("argument", "header"):
            self._prepare_value()
        else:
            self._prepare_window()

    def is_for(self, deployment, function):
        """Whether the rule is about calls of this function."""
        return fnmatchcase(function, self._function) and fnmatchcase(deployment, self._deployment)

    def excepts(self, seen):
        """Whether the caller may do as they like."""
        return bool(self._except_callers) and seen.context("caller") in self._except_callers

    def broken_by(self, seen):
        """How the call breaks the rule, as text, or None."""
        if self._subject == "argument":
            return self._value_broken(f"argument {self._path}", find(seen.arguments(), self._steps))
        if self._subject == "header":
            value = seen.header(self._table["header"])
            return self._value_broken(f"header {self._table['header']}", ABSENT if value is None else value)
        if self._window.is_open(seen.now()):
            return None
        return f"such calls are let through {self._window}"

    def _prepare_value(self):
        if "utc_offset" in self._table:
            raise BadRule(f"{self._place}: utc_offset needs hours or days")
        if not self._conditions:
            raise BadRule(f"{self._place}: no condition; there are {', '.join(CONDITIONS)}")
        self._path = str(self._table.get("argument"))
        self._steps = self._path.split(".")
        self._pattern = None
        if "pattern" in self._conditions:
            try:
                self._pattern = re.compile(self._conditions["pattern"])
            except re.error as error:
                raise BadRule(f"{self._place}.pattern: {error}") from None

    def _prepare_window(self):
        if self._conditions:
            raise BadRule(f"{self._place}: {next(iter(self._conditions))} needs argument or header")
        try:
            self._window = window.Window(
                self._table.get("hours"), self._table.get("days"), self._table.get("utc_offset", "+00:00")
            )
        except ValueError as error:
            raise BadRule(f"{self._place}: {error}") from None

    def _only(self, *subjects):
        """The one subject that the rule has; hours and days are one together."""
        given = [subject for subject in subjects if subject in self._table]
        if not given:
            raise BadRule(f"{self._place}: nothing to look at; there are {', '.join(subjects)}")
        if len(given) > 1 and given != ["hours", "days"]:
            raise BadRule(f"{self._place}: {given[0]} and {given[1]} in one rule: make two of it")
        return given[0]

    def _value_broken(self, name, value):
        conditions = self._conditions
        if value is ABSENT or value is None:
            return f"{name} is missing" if conditions.get("required") else None
        bounds = (("min", lambda n, b: n < b, "less than"), ("max", lambda n, b: n > b, "more than"))
        for bound, breaks, words in bounds:
            if bound in conditions:
                number = number_of(value)
                if number is None:
                    return f"{name} is not a number"
                if breaks(number, conditions[bound]):
                    return f"{name} is {words} {conditions[bound]}"
        for bound, breaks, words in (
            ("min_length", lambda n, b: n < b, "shorter than"),
            ("max_length", lambda n, b: n > b, "longer than"),
        ):
            if bound in conditions:
                if not isinstance(value, (str, list)):
                    return f"{name} has no length"
                if breaks(len(value), conditions[bound]):
                    return f"{name} is {words} {conditions[bound]}"
        if "in" in conditions and not among(value, conditions["in"]):
            return f"{name} is none of the allowed values"
        if "not_in" in conditions and among(value, conditions["not_in"]):
            return f"{name} is one of the forbidden values"
        # After the length checks: a pattern may take long on a long text.
        if self._pattern and not (isinstance(value, str) and self._pattern.fullmatch(value)):
            return f"{name} does not match {self._conditions['pattern']}"
        return None


def values(text):
    """Parses JSON text. Numbers are Decimals: exact, and of any size that a caller may send."""
    return json.loads(text, parse_int=_decimal, parse_float=_decimal)


def _decimal(text):
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond -10^18: as good as nothing
        return Decimal(float(text))


def find(value, steps):
    """The value at the end of a path of positions and keys, or ABSENT."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step, ABSENT)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return ABSENT
    return value


def number_of(value):
    """A JSON number, or the number that a text says (a header, a form field); None of anything else."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", value):
        return Decimal(value)
    return value if isinstance(value, Decimal) else None


def among(value, values):
    """Whether a JSON value is one of these; true is not 1, as Python has it."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)
