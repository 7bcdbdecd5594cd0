"""The plugin {{name}}: refuses calls with the header `x-blocked`, and marks the others with `x-seen-by`."""

from wit_world import exports
from wit_world.exports.before_invoke import Verdict_Proceed, Verdict_Reject
from wit_world.imports.types import Problem


class BeforeInvoke(exports.BeforeInvoke):
    """The hook; componentize-py finds it by the name of the class."""

    def before_invoke(self, call):
        # The line to edit: which calls are refused. `call` also has function(), arguments(), peer(), context(key), …
        if call.header("x-blocked") is not None:
            return Verdict_Reject(Problem(403, "blocked", "calls with the header x-blocked are refused", []))
        # Seen by the plugins after this one. A setter raises on what is no header; what is not caught is a failed hook.
        call.set_header("x-seen-by", "{{name}}")
        return Verdict_Proceed()
