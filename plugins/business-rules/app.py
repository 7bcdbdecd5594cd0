"""The plugin business-rules: refuses calls that break one of the rules in its configuration."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.before_invoke import Verdict_Proceed, Verdict_Reject
from wit_world.exports.declarations import Refusal
from wit_world.imports import clock
from wit_world.imports.types import Problem

from rules import BadRule, Rule, values
from schema import SCHEMA

# The rules, in the order of the configuration. `start` sets them.
RULES = []


class Lifecycle(exports.Lifecycle):
    """The check of the configuration."""

    def config_schema(self):
        return json.dumps(SCHEMA)

    def start(self, config):
        tables = values(config).get("rules", [])
        try:
            RULES[:] = [Rule(table, f"rules[{at}]") for at, table in enumerate(tables)]
        except BadRule as reason:
            raise Err(str(reason)) from None


class Declarations(exports.Declarations):
    """What documents say of the plugin: the statuses and codes of its rules."""

    def refusals(self):
        described = {}
        for rule in RULES:
            described.setdefault((rule.status, rule.code), rule.message)
        # A declaration has room for as many, and for descriptions of 500 bytes.
        first = list(described.items())[:256]
        return [Refusal(status, code, description(message), []) for (status, code), message in first]

    def security_schemes(self):
        return []


class BeforeInvoke(exports.BeforeInvoke):
    """The hook: the first rule that the call breaks ends it."""

    def before_invoke(self, call):
        deployment, function = call.deployment(), call.function()
        rules = [rule for rule in RULES if rule.is_for(deployment, function)]
        if not rules:
            return Verdict_Proceed()
        seen = Seen(call)
        for rule in rules:
            if rule.excepts(seen):
                continue
            broken = rule.broken_by(seen)
            if broken is not None:
                return Verdict_Reject(Problem(rule.status, rule.code, rule.message or broken, []))
        return Verdict_Proceed()


def description(message):
    """The message of a rule as a description."""
    text = "".join(c if c.isprintable() else " " for c in message or "").strip()
    return text[:125] or "The call breaks a rule."


class Seen:
    """A call as the rules see it: only what they ask for is copied, and arguments and time are read once."""

    def __init__(self, call):
        self._call = call
        self._arguments = None
        self._now = None

    def arguments(self):
        """The arguments, as a list."""
        if self._arguments is None:
            self._arguments = values(self._call.arguments())
        return self._arguments

    def header(self, name):
        """The value of a request header, or None."""
        return self._call.header(name)

    def context(self, key):
        """A value of the call's context, or None."""
        value = self._call.context(key)
        return None if value is None else values(value)

    def now(self):
        """Milliseconds since 1970, UTC."""
        if self._now is None:
            self._now = clock.now()
        return self._now
