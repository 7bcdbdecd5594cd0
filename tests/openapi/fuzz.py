"""Calls what an OpenAPI document describes with generated requests.

    python3 fuzz.py URL EXAMPLES [--repository URL] [--only OPERATION | --skip OPERATION…]

URL is that of the document. Each operation gets so many examples, valid ones and others; operations whose ids are given
are skipped. All checks of Schemathesis apply, but for what follows; this file is also its module of hooks.

Requests that are not sent, because what the gateway does with them is documented in words, not in schemas:

- MetaCall's rules of arguments take more than the schema says: an array gives them in order, and so does an object or a
  query none of whose keys is a parameter.
- Changes of asynchronous calls have each name in the query or in the body, not in both.
- Functions in WebAssembly read flags also as an object of truth values; the schema has the form in which they are
  written, an array of names.

Checks that are made otherwise:

- A GET may have the body of a POST. Documents describe a GET only where a query carries the arguments, because most
  programs cannot send such a body: in place of a 405 it has to have an answer that the POST has. Other methods have a
  405 with `Allow`.
- A status that only `default` describes is reported: `default` stands for functions and plugins that answer with
  statuses of their own, and those that are called here declare theirs.

What schemas cannot say, the requests to the API get from the gateway itself (`real.py`): most have the names of
deployments, plugins, functions and calls that exist, archives, addresses of repositories, numbers of releases. Of these
it is checked that they are accepted. That any other text is no archive and no address is no fault: a body of operations
that take one may be refused although it is well-formed.

Streams of events have no end: they are closed after their head, which is checked.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from argparse import ArgumentParser
from pathlib import Path

import schemathesis
from schemathesis.core.parameters import ParameterLocation

sys.path.insert(0, str(Path(__file__).parent))
from real import RELEASED, Resources  # noqa: E402

PHASES = "examples,coverage,fuzzing"
FUZZED, REPOSITORY, EXAMPLES = "METAGATE_FUZZED", "METAGATE_REPOSITORY", "METAGATE_EXAMPLES"
CHANGES = ["/api/deploy/create", "/api/deploy/delete"]
SELECTIONS = ["/api/calls/redrive", "/api/calls/purge"]
UPGRADE = "/api/upgrade"
MEANT = ["deploy", "createPackage", "comparePackage", "addRepository", "branches", "repositoryFiles"]
CONFIG = """
[[operations]]
include-operation-id = {meant}
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "/call/"
checks.unsupported_method.enabled = false
"""

resources = Resources(os.environ.get(FUZZED), os.environ.get(REPOSITORY), int(os.environ.get(EXAMPLES, "0")))


def is_call(case):
    return "/call/" in case.operation.path


def is_other_method(case):
    return case.method.upper() != case.operation.method.upper()


def give_headers(case):
    """No two calls have the same key: another body under it is refused. What nobody waits for is checked later."""
    headers = case.headers or {}
    key = str(headers.get("Idempotency-Key", ""))
    if 1 <= len(key) <= 255:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    is_negative = case.meta is not None and any(case.meta.is_negative_at(place) for place in ParameterLocation)
    if is_negative and "respond-async" in str(headers.get("Prefer", "")).lower():
        del headers["Prefer"]


def is_flags(schema):
    return schema.get("type") == "array" and "enum" in schema.get("items", {})


@schemathesis.hook
def filter_case(context, case):
    if case.operation.path in CHANGES and type(case.body) is dict and case.body.get("suffix") == RELEASED:
        return False  # other requests need it and its first releases
    if case.operation.path in SELECTIONS and type(case.body) is dict and set(case.body) & set(case.query or ()):
        return False
    if not is_call(case) or is_other_method(case):
        return True
    raw = case.operation.definition.raw
    if type(case.body) is list:
        return False
    if type(case.body) is dict and case.body:
        content = raw["requestBody"]["content"].get("application/json", {})
        schema = content.get("schema", {})
        names = schema.get("properties", {})
        if any(type(value) is dict and is_flags(names.get(key, {})) for key, value in case.body.items()):
            return False
        return schema.get("additionalProperties") is not False or any(key in names for key in case.body)
    names = [one["name"] for one in raw.get("parameters", []) if one.get("in") == "query"]
    return not case.query or not names or any(key in names for key in case.query)


def close_stream(response, **_others):
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        response._content = b""
        response.close()
    return response


def after_the_last_upgrade(response, **_others):
    """The answer once the upgrade before is over: until then each request is refused, whatever it says."""
    end = time.monotonic() + 20
    while response.status_code == 503 and time.monotonic() < end:
        time.sleep(0.1)
        _read = response.content
        response = response.connection.send(response.request, timeout=20)
    return response


@schemathesis.hook
def before_call(context, case, kwargs):
    give_headers(case)
    if case.operation.path == UPGRADE:
        kwargs["hooks"] = {"response": after_the_last_upgrade}
    if "text/event-stream" in str(case.operation.definition.raw["responses"].get("200", {})):
        kwargs["stream"] = True
        kwargs["hooks"] = {"response": close_stream}
    if is_call(case) or is_other_method(case) or case.meta is None:
        return
    is_valid = {place: not case.meta.is_negative_at(place) for place in ParameterLocation}
    resources.give(case, is_valid[ParameterLocation.PATH], is_valid[ParameterLocation.BODY], all(is_valid.values()))


@schemathesis.hook
def after_call(context, case, response):
    resources.note(case, response)


@schemathesis.check
def is_described(context, response, case):
    is_get_of_post = case.method.upper() == "GET" and is_call(case)
    if is_other_method(case) and not is_get_of_post:
        return  # the next check looks at the answer
    described = case.operation.definition.raw["responses"]
    status = str(response.status_code)
    assert status in described or f"{status[0]}XX" in described, f"{status} is not described"


@schemathesis.check
def other_methods_are_refused(context, response, case):
    method = case.method.upper()
    if not is_call(case) or not is_other_method(case) or method in ("GET", "HEAD", "OPTIONS"):
        return
    assert response.status_code == 405, f"{method} was answered with {response.status_code}"
    assert "POST" in str(response.headers.get("allow")), "there is no Allow"


@schemathesis.check
def what_is_real_is_accepted(context, response, case):
    refusal = resources.refusal(case, response)
    assert refusal is None, refusal


def main():
    parser = ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("examples")
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--only")
    parser.add_argument("--repository", default="")
    given = parser.parse_args()
    environment = dict(os.environ, SCHEMATHESIS_HOOKS="fuzz")
    environment.update({FUZZED: given.url, REPOSITORY: given.repository, EXAMPLES: given.examples})
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    chosen = [word for name in given.skip for word in ("--exclude-operation-id", name)]
    if given.only:
        chosen += ["--include-operation-id", given.only]
    options = ["--max-examples", given.examples, "--phases", PHASES, "--generation-deterministic", "--no-color"]
    code = "from schemathesis.cli import schemathesis; schemathesis()"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "schemathesis.toml")
        config.write_text(CONFIG.format(meant=MEANT))
        command = [sys.executable, "-c", code, "--config-file", str(config), "run", given.url, *options, *chosen]
        # It keeps what it finds below the folder in which it runs.
        sys.exit(subprocess.run(command, env=environment, cwd=folder).returncode)


if __name__ == "__main__":
    main()
