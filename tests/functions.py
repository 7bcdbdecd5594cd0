"""Deploys functions in WebAssembly on a gateway and calls them over HTTP: one world in Rust, C, JavaScript and Python,
two wasi:http components, and the examples, whose committed components must answer like freshly built ones.

usage: functions.py METAGATE TOOLCHAINS EXAMPLES

TOOLCHAINS holds <name>/<name>.wasm, built by tests/fixtures/wasm-toolchains/build.sh; EXAMPLES holds <name>.wasm, built
by examples/wasm/build.sh.
"""

import base64
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

TOP = Path(__file__).resolve().parent.parent
LANGUAGES = ["rust", "c", "js", "python"]
# Seconds. A debug build takes minutes to compile the components that contain a JavaScript or Python engine.
LOADING = 300
CALLING = 60

LEAST = -(2**63)
TRIANGLE = [{"x": 0, "y": 0}, {"x": 4, "y": 0}, {"x": 4, "y": 3}]
BYTES = bytes(range(256)) * 4096


class Raised:
    """Expects that the function returns an error with this payload."""

    def __init__(self, payload):
        self.payload = payload


class Refused:
    """Expects that the arguments do not fit, and that the message contains these words."""

    def __init__(self, *words):
        self.words = words


# Function, body and expected result, the same in every language.
CASES = [
    ("add", [2, 3], 5),
    ("add", {"b": 1, "a": 2**31 - 1}, -(2**31)),
    ("divide", [-7, 2], -3),
    ("divide", {"b": 2, "a": 9}, 4),
    ("divide", [1, 0], Raised("by-zero")),
    ("divide", [LEAST, -1], Raised({"overflow": LEAST})),
    ("divide", [LEAST, 1], LEAST),
    ("echo-bytes", ["AAEC/w=="], "AAEC/w=="),
    ("echo-bytes", [[0, 1, 2, 255]], "AAEC/w=="),
    ("echo-bytes", [""], ""),
    ("echo-bytes", [base64.b64encode(BYTES).decode()], base64.b64encode(BYTES).decode()),
    ("big", [2**64 - 2], 2**64 - 1),
    ("big", [2**53 + 1], 2**53 + 2),
    ("maybe", [41], 42),
    ("maybe", [], None),
    ("maybe", [None], None),
    ("maybe", [2**32 - 1], None),
    ("swap", [["text", "é"]], ["é", "text"]),
    ("swap", {"t": ["", "🦀"]}, ["🦀", ""]),
    ("sum-up", [[1.5, 2, -0.25]], {"count": 3, "sum": 3.25, "smallest": -0.25}),
    ("sum-up", [[]], {"count": 0, "sum": 0, "smallest": None}),
    ("check", ["fine"], None),
    ("check", ["bad"], Raised("bad")),
    ("check", [], Raised(None)),
    ("nothing", [], None),
    ("environment", ["GREETING"], "hello"),
    ("environment", ["NOWHERE"], None),
    ("area", [{"circle": 2}], 12.566370614359172),
    ("area", [{"tag": "circle", "val": 2}], 12.566370614359172),
    ("area", [{"polygon": TRIANGLE}], 6),
    ("area", ["empty"], Raised("nothing has no area")),
    ("shapes/area", [{"polygon": []}], 0),
    ("test:toolchains/shapes@0.1.0/area", [{"polygon": TRIANGLE[:2]}], 0),
    ("mirror", [{"x": 1, "y": -2}], {"x": -2, "y": 1}),
    ("mirror", {"p": {"y": 5, "x": 6}}, {"x": 5, "y": 6}),
    ("describe", ["deep-blue", ["read", "grant-all"], "ü"], 'deep-blue read+grant-all "ü"'),
    ("describe", {"r": {"write": True, "read": False}, "c": "red"}, "red write none"),
    ("describe", ["green", [], "long " * 50_000], f'green  "{"long " * 50_000}"'),
    ("add", ["x", 1], Refused('"a"', "s32", '"x"')),
    ("add", [1], Refused('"b"', "missing")),
    ("add", [1, 2, 3], Refused("2 arguments")),
    ("big", [-1], Refused('"x"', "-1")),
    ("mirror", [{"x": 1}], Refused('"p"', "y")),
    ("swap", [["a", "bc"]], Refused("char")),
    ("area", [{"square": 1}], Refused("square")),
    ("describe", ["blue", []], Refused("blue")),
]

# Calls of the examples: function and body. Committed and freshly built components must answer alike.
EXAMPLES = {
    "prices": [
        ("split", [100, 3]),
        ("split", [1, 0]),
        ("split", [1, 256]),
        ("tax", ["ireland"]),
        ("tax", ["atlantis"]),
        ("total", [[{"name": "pen", "price": 120, "quantity": 3}, {"name": "ink", "price": 899}], "france"]),
        ("total", {"country": "germany", "items": [{"name": "pen", "price": 99}], "discount": {"percent": 10}}),
        ("total", {"country": "germany", "items": [{"name": "pen", "price": 99}], "discount": {"percent": 110}}),
        ("total", {"country": "austria", "items": [{"name": "pen", "price": 99}], "discount": "cheapest-free"}),
        ("total", [[], "austria"]),
        ("total", [[{"name": "gold", "price": 2**63, "quantity": 2}], "austria"]),
    ],
    "text": [
        ("count", ["one fish\ntwo fish\n"]),
        ("count", [" \t"]),
        ("count", [""]),
        ("count", ["Grüße aus Köln"]),
        ("slug", ["Hello, World!"]),
        ("slug", ["--"]),
        ("slug", [1]),
    ],
}


class Gateway:
    """A gateway with its own folder, to which deployments are added one after another."""

    def __init__(self, metagate, folder):
        self.config = folder / "metagate.toml"
        self.config.write_text('[server]\nlisten = "127.0.0.1:0"\nprefix = "local"\n')
        self.log = (folder / "log").open("w+")
        command = [metagate, "serve", str(self.config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=folder)
        listening = self.process.stdout.readline()
        if not listening.startswith("listening on "):
            raise SystemExit(f"the gateway does not listen: {listening}{self.logged()}")
        self.address = listening.rsplit("/", 1)[1].strip()

    def deploy(self, name, path, **settings):
        """Adds a deployment and waits until it serves."""
        table = f'\n[[deployment]]\nname = "{name}"\npath = {json.dumps(str(path))}\nruntime = "wasm"\n'
        table += f'load_timeout = "{LOADING}s"\ntimeout = "{CALLING}s"\nenv = {{ GREETING = "hello" }}\n'
        table += "".join(f"{key.replace('__', '.')} = {json.dumps(value)}\n" for key, value in settings.items())
        with self.config.open("a") as config:
            config.write(table)
        started = time.monotonic()
        self.request("POST", "/api/reload")
        while True:
            status, _, body = self.request("GET", "/readyz")
            states = [state for state in json.loads(body)["deployments"] if state["name"] == name]
            if status == 200 and states:
                break
            late = time.monotonic() - started > LOADING
            if late or self.process.poll() is not None or any(state["status"] == "failed" for state in states):
                raise SystemExit(f"{name} does not serve: {body.decode()}\n{self.logged()}")
            time.sleep(0.1)
        print(f"   {name} serves after {time.monotonic() - started:.1f} s", flush=True)

    def request(self, method, path, body=None, headers=()):
        """Returns status, headers (pairs, names in lower case) and body of an answer."""
        connection = http.client.HTTPConnection(self.address, timeout=LOADING)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            pairs = [(name.lower(), value) for name, value in answer.getheaders()]
            return answer.status, pairs, answer.read()
        finally:
            connection.close()

    def call(self, name, function, arguments):
        """Calls a function; returns status and value."""
        path = f"/local/{name}/v1/call/{quote(function, safe='/:@')}"
        status, _, body = self.request("POST", path, json.dumps(arguments), {"x-request-id": "test"})
        return status, json.loads(body)

    def offered(self, name):
        """Returns the functions of a deployment with their signatures, by script."""
        inspected = json.loads(self.request("GET", "/api/inspect")[2])
        packages = next(one["packages"] for one in inspected if one["suffix"] == name)
        return {script["name"]: script["scope"]["funcs"] for script in packages["wasm"]}

    def logged(self):
        """Returns what the gateway has written to standard error."""
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        """Stops the gateway with SIGTERM; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Checks:
    """Counts checks and keeps the failed ones."""

    def __init__(self):
        self.passed = 0
        self.failed = []

    def that(self, good, message):
        """Counts a check; `message` names the check and the actual value."""
        if good:
            self.passed += 1
        else:
            self.failed.append(message)
            print(f"FAILED {message[:600]}", flush=True)


def fits(expected, status, value):
    """Returns whether an answer is the expected one."""
    error = value.get("error", {}) if isinstance(value, dict) else {}
    if isinstance(expected, Raised):
        actual = (status, error.get("code"), error.get("payload", "nothing"))
        return actual == (500, "function_error", expected.payload)
    if isinstance(expected, Refused):
        refused = (status, error.get("code")) == (422, "bad_argument")
        return refused and all(word in error["message"] for word in expected.words)
    return (status, value) == (200, expected)


def check_language(gateway, name, checks):
    """Runs every case, then checks that instances are fresh and that a trap ends one call only."""
    for function, arguments, expected in CASES:
        status, value = gateway.call(name, function, arguments)
        shown = json.dumps(arguments)[:80]
        checks.that(fits(expected, status, value), f"{name} {function} {shown}: {status} {json.dumps(value)}")
    for _ in range(2):
        answer = gateway.call(name, "remember", ["a"])
        checks.that(answer == (200, None), f"{name} remember in a fresh instance: {answer}")
    status, value = gateway.call(name, "crash", [])
    checks.that((status, value["error"]["code"]) == (500, "function_error"), f"{name} crash: {status} {value}")
    answer = gateway.call(name, "add", [1, 1])
    checks.that(answer == (200, 2), f"{name} add after a crash: {answer}")
    answer = gateway.call(name, "subtract", [1, 1])
    checks.that(answer[0] == 404, f"{name} subtract: {answer}")
    # Functions that a toolchain exports for its own use are not offered.
    offered = sorted(function["name"] for function in gateway.offered(name)[f"{name}.wasm"])
    expected = sorted({function for function, *_ in CASES if "/" not in function} | {"remember", "crash"})
    checks.that(offered == expected, f"{name} offers {offered}")


def check_http(gateway, name, checks):
    """Checks methods, addresses, headers and bodies of a component that serves HTTP."""
    base = f"/local/{name}/v1/http"

    def check(what, good, actual):
        checks.that(good, f"{name} {what}: {actual}")

    def lines(body):
        head, _, rest = body.partition(b"\n\n")
        return head.decode().split("\n"), rest

    status, headers, body = gateway.request("GET", f"{base}/a/b?x=1&y=%20", headers={"x-test": "yes"})
    head, rest = lines(body)
    good = status == 200 and head[0] == "GET /a/b?x=1&y=%20" and "x-test: yes" in head and rest == b""
    check("GET", good, (status, body))
    check("content-type", ("content-type", "text/plain; charset=utf-8") in headers, headers)
    cookies = [value for key, value in headers if key == "set-cookie"]
    check("cookies", cookies == ["a=1; Path=/", "b=2; HttpOnly"], headers)
    for method in ["POST", "PUT", "PATCH", "DELETE"]:
        status, _, body = gateway.request(method, base, "grüße\n\n".encode())
        head, rest = lines(body)
        check(method, status == 200 and head[0] == f"{method} /" and rest == "grüße\n\n".encode(), (status, body))
    status, _, body = gateway.request("POST", f"{base}/large-echo", b"0123456789" * 50_000)
    check("a large body", status == 200 and lines(body)[1] == b"0123456789" * 50_000, (status, len(body)))
    status, headers, body = gateway.request("HEAD", f"{base}/x")
    check("HEAD", status == 200 and body == b"", (status, headers, body))
    for wanted in [201, 404, 418]:
        status, _, body = gateway.request("GET", f"{base}/status/{wanted}")
        check(f"status {wanted}", status == wanted and body == b"", (status, body))
    status, headers, body = gateway.request("GET", f"{base}/large")
    wanted = b"".join(bytes([97 + at % 26]) * 4096 for at in range(256))
    check("a large answer", status == 200 and body == wanted, (status, headers, len(body)))
    status, _, body = gateway.request("GET", f"{base}/crash")
    check("crash", status == 500, (status, body))
    status, _, body = gateway.request("GET", f"{base}/")
    check("GET after a crash", status == 200, (status, body))


def check_examples(gateway, built, folder, checks):
    """Checks that the committed components of the examples answer like freshly built ones."""
    for name, cases in EXAMPLES.items():
        fresh = folder / name
        fresh.mkdir()
        shutil.copy(built / f"{name}.wasm", fresh)
        gateway.deploy(name, TOP / "examples/wasm" / name)
        gateway.deploy(f"{name}-built", fresh)
        for function, arguments in cases:
            old, new = (gateway.call(one, function, arguments) for one in (name, f"{name}-built"))
            checks.that(old == new and old[0] < 502, f"{name} {function} {arguments}: committed {old}, built {new}")
        old, new = (gateway.offered(one) for one in (name, f"{name}-built"))
        checks.that(old == new, f"{name} offers {old}, freshly built {new}")


def main():
    metagate, toolchains, examples = sys.argv[1], *map(Path, sys.argv[2:4])
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        gateway = Gateway(str(Path(metagate).resolve()), folder)
        try:
            check_examples(gateway, examples, folder, checks)
            for name in LANGUAGES:
                gateway.deploy(name, toolchains / name)
                check_language(gateway, name, checks)
            gateway.deploy("warm", toolchains / "rust", wasm__instances="warm")
            answers = [gateway.call("warm", "remember", [text]) for text in ("a", "b")]
            checks.that(answers == [(200, None), (200, "a")], f"remember in a warm instance: {answers}")
            for name in ["http-rust", "http-js"]:
                gateway.deploy(name, toolchains / name)
                check_http(gateway, name, checks)
        finally:
            code = gateway.stop()
        checks.that(code == 0, f"the gateway exited with {code}")
        if checks.failed:
            print(gateway.logged()[-6000:])
    print(f"functions: {checks.passed} checks passed, {len(checks.failed)} failed")
    return 1 if checks.failed else 0


sys.exit(main())
