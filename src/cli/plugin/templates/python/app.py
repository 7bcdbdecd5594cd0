"""The plugin {{name}}: refuses calls with the header `x-blocked`, and adds `x-seen-by` to the others."""

from wit_world import exports
from wit_world.exports.before_invoke import Verdict_Proceed, Verdict_Reject
from wit_world.exports.declarations import Refusal
from wit_world.imports.types import Problem


class BeforeInvoke(exports.BeforeInvoke):
    """The hook. componentize-py finds it by the name of the class."""

    def before_invoke(self, call):
        # Edit this line: it decides which calls are refused. `call` also has function(), arguments(), peer(), …
        if call.header("x-blocked") is not None:
            return Verdict_Reject(Problem(403, "blocked", "calls with the header x-blocked are refused", []))
        # Later plugins see this header. A setter raises on an invalid header; the hook fails if nothing catches it.
        call.set_header("x-seen-by", "{{name}}")
        return Verdict_Proceed()


class Declarations(exports.Declarations):
    """What the documents of functions say of this plugin. Keep it true: list every error with which it ends calls."""

    def refusals(self):
        return [Refusal(403, "blocked", "The call has the header x-blocked.", [])]

    def security_schemes(self):
        return []
