"""What exists in the gateway under test, for requests whose schemas say only how its names are written.

Most requests to the admin API get such names, every fourth keeps what was generated. Nothing is replaced in a part of a
request that was made to be refused.
"""

import io
import json
import urllib.request
import zipfile
from collections import Counter
from itertools import count
from urllib.parse import urlsplit

from schemathesis.transport.serialization import Binary

SOURCE = "def answer(value: int = 1) -> int:\n    return value\n"
MADE = ["made-1", "made-2", "made-3"]
RELEASED = "released"
# Where a valid request for what exists is accepted whatever else is in it.
ACCEPTED = ["branches", "chain", "comparePackage", "createPackage", "deployLogs"]
ACCEPTED += ["releases", "repositoryFiles", "rollback"]
TAKEN = [400, 409]  # the name is that of a deployment, which the request does not replace


class Resources:
    def __init__(self, document, repository, examples):
        self.base = None if document is None else "{0.scheme}://{0.netloc}".format(urlsplit(document))
        self.repository, self.examples = repository, examples
        self.packages, self.deployed = [], []
        self.loads = Counter()
        self.real = set()
        self.turn = count()

    def ask(self, path):
        with urllib.request.urlopen(self.base + path) as answer:
            return json.load(answer)

    def give(self, case, may_change_path, may_change_body, is_valid):
        """Puts what exists into a request, if it is its turn."""
        turn = next(self.turn)
        if turn % 4 == 3 or self.base is None:
            return
        path = case.operation.path
        changed = False
        if may_change_path and case.path_parameters:
            names = {name: self.named(path, name, turn) for name in case.path_parameters}
            case.path_parameters.update({name: value for name, value in names.items() if value is not None})
            changed = None not in names.values()
        if may_change_body and isinstance(case.body, dict):
            body = self.body(case, turn)
            if body is not None:
                # Of a form nothing else is left: the file has to be its last part.
                case.body = body if "raw" in body else {**case.body, **body}
                changed = True
        if changed:
            # What was valid is so still; it is not looked at again, as bytes are for that no text.
            case._record_starting_state()
        if changed and is_valid:
            self.real.add(case.id)

    def named(self, path, parameter, turn):
        if parameter == "id":
            calls = self.ask("/api/recent-calls?limit=3")["calls"]
            return calls[turn % len(calls)]["request_id"] if calls else None
        if parameter == "function":
            return ["half", "repeat", "hello"][turn % 3]
        if path.startswith("/api/plugins/"):
            return "recorded"
        if path.startswith("/api/rollback/") or path.startswith("/api/releases/"):
            return RELEASED
        return "py"

    def body(self, case, turn):
        """The parts of a body that have to be those of something that exists."""
        operation = case.operation.definition.raw.get("operationId")
        if operation in ("createPackage", "comparePackage") and self.may_load(operation):
            name = MADE[turn % len(MADE)] if operation == "createPackage" else RELEASED
            env = {"env": "[]"} if operation == "comparePackage" else {}
            package = {"id": name, "type": "application/x-zip-compressed", "jsons": "[]", "runners": "[]", **env}
            return {**package, "raw": Binary(archive())}
        if operation == "deploy" and self.packages and self.may_load(operation):
            return {"suffix": self.packages[turn % len(self.packages)], "env": [], "check_compat": False}
        if operation == "delete" and self.deployed:
            return {"suffix": self.deployed[turn % len(self.deployed)], "prefix": None, "version": None}
        if operation == "deployLogs":
            return {"suffix": "py"}
        if operation == "rollback":
            return {"release": turn % 2 + 1}
        if operation in ("branches", "repositoryFiles", "addRepository") and self.repository:
            return {"url": self.repository, "branch": "main", "jsons": []}
        return None

    def may_load(self, operation):
        """Whether another request to start a worker is one too many: each takes its time."""
        self.loads[operation] += 1
        return self.loads[operation] <= self.examples

    def note(self, case, response):
        """Learns from an answer what exists now."""
        operation = case.operation.definition.raw.get("operationId")
        if response.status_code >= 300 or self.base is None:
            return
        if operation in ("createPackage", "addRepository"):
            self.packages.append(response.json()["id"])
        elif operation == "deploy" and case.body["suffix"] != RELEASED:
            self.deployed.append(case.body["suffix"])
        elif operation == "delete":
            self.deployed = [name for name in self.deployed if name != case.body["suffix"]]

    def refusal(self, case, response):
        """What is wrong about the answer to a request for what exists, or None."""
        operation = case.operation.definition.raw.get("operationId")
        if case.id not in self.real or operation not in ACCEPTED:
            return None
        if operation == "rollback" and (type(case.body) is not dict or not case.body.get("release")):
            return None  # there may be no release before the one in service
        taken = operation == "createPackage" and (case.query or {}).get("replace") is not True
        is_refused = response.status_code >= 400 and not (taken and response.status_code in TAKEN)
        return f"{response.status_code} for what exists: {response.text[:300]}" if is_refused else None


def archive():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("main.py", SOURCE)
    return data.getvalue()
