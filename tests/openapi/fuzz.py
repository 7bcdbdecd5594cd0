"""Calls what an OpenAPI document describes with generated requests.

    python3 fuzz.py URL EXAMPLES [--whole-numbers] [SKIPPED…]

URL is that of the document. Each operation gets so many examples, valid ones and others; operations whose ids are given
are skipped. All checks of Schemathesis apply. What is added to them, as this file is also its module of hooks:

- MetaCall's rules of arguments take more than the schema says: an array gives them in order, and so does an object none
  of whose keys is a parameter. Such bodies are no violations, so they are left out.
- A GET may have the body of a POST. Documents describe a GET only where a query carries the arguments, because most
  programs cannot send such a body; that others are not refused is no fault.
- A status that only `default` describes is reported: `default` stands for functions and plugins that answer with
  statuses of their own, and those that are called here declare theirs.
- For JSON Schema 1.0 is an integer. Functions in WebAssembly take only 1, which no schema can say: with --whole-numbers
  such numbers are sent without their fraction.
- That a body is well-formed does not make it an archive, the address of a repository or the name of a package that has
  arrived: of operations that take one it is not expected that every body succeeds.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import schemathesis

PHASES = "examples,coverage,fuzzing"
WHOLE_NUMBERS = "METAGATE_WHOLE_NUMBERS"
MEANT = ["deploy", "createPackage", "addRepository", "branches", "repositoryFiles"]
CONFIG = "[[operations]]\ninclude-operation-id = {}\nchecks.positive_data_acceptance.enabled = false\n"


@schemathesis.hook
def filter_case(context, case):
    if case.method == "GET" and case.operation.method.upper() == "POST" and "/call/" in case.path:
        return False
    if case.method != "POST" or "/call/" not in case.path or type(case.body) not in (list, dict):
        return True
    if type(case.body) is list:
        return False
    content = case.operation.definition.raw["requestBody"]["content"].get("application/json", {})
    schema = content.get("schema", {})
    names = schema.get("properties", {})
    return schema.get("additionalProperties") is not False or case.body == {} or any(key in names for key in case.body)


def without_fractions(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [without_fractions(item) for item in value]
    if isinstance(value, dict):
        return {key: without_fractions(item) for key, item in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    if WHOLE_NUMBERS in os.environ:
        case.body = without_fractions(case.body)


@schemathesis.check
def is_described(context, response, case):
    if case.method != case.operation.method.upper():
        return  # a method that is not described: another check looks at the answer
    described = case.operation.definition.raw["responses"]
    status = str(response.status_code)
    assert status in described or f"{status[0]}XX" in described, f"{status} is not described"


def main(url, examples, *others):
    skipped = [name for name in others if name != "--whole-numbers"]
    environment = dict(os.environ, SCHEMATHESIS_HOOKS="fuzz")
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    if "--whole-numbers" in others:
        environment[WHOLE_NUMBERS] = "1"
    left_out = [word for name in skipped for word in ("--exclude-operation-id", name)]
    options = ["--max-examples", examples, "--phases", PHASES, "--generation-deterministic", "--no-color"]
    code = "from schemathesis.cli import schemathesis; schemathesis()"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "schemathesis.toml")
        config.write_text(CONFIG.format(MEANT))
        command = [sys.executable, "-c", code, "--config-file", str(config), "run", url, *options, *left_out]
        # It keeps what it finds below the folder in which it runs.
        sys.exit(subprocess.run(command, env=environment, cwd=folder).returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
