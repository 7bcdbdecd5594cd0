#!/usr/bin/env python3
"""Compares functions behind metagate with the same functions behind their own language's web server.

Every target runs in every round, so that drift of the machine affects all of them alike; ratios are taken within a
round. `wrk` generates the load on the same machine: trust the ratios, not the absolute figures.
"""
import argparse
import json
import operator
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from processes import Server, fail, machine_times, read, run

BENCHES = Path(__file__).resolve().parent
FUNCTIONS, APPS = BENCHES / "functions", BENCHES / "apps"
NPM = BENCHES.parent / "tests" / "npm" / "node_modules"  # `npm install` in tests/npm
PYPI = BENCHES.parent / "tests" / "pypi" / "packages"  # tests/run.sh installs tests/pypi/requirements.txt there
TARGET_DIR = Path(os.environ.get("CARGO_TARGET_DIR") or BENCHES.parent / "target").absolute()
VENV = TARGET_DIR / "bench-venv"
PYTHON = VENV / "bin" / "python"
UVICORN = ["uvicorn", "httptools", "uvloop"]  # uvicorn at its fastest
CONNECTIONS = (1, 16, 64)
WARM_UP = 1  # seconds; wrk accepts whole ones only

EXAMPLES = """examples:
  python3 benches/compare.py                               everything, about two and a half minutes
  python3 benches/compare.py --quick                       half a minute, for a first look
  python3 benches/compare.py --only node --rounds 9        Node targets only, more rounds
  python3 benches/compare.py --only wasm                   functions in WebAssembly and wasmtime serve
  python3 benches/compare.py --only express,fastapi        web apps, after tests/run.sh has installed them
  python3 benches/compare.py --targets node-http,uvicorn   the peers alone, without metagate
  python3 benches/compare.py --metagate ./old --json old.json"""


class Target(NamedTuple):
    name: str
    label: str
    language: str
    server: str  # what `server_command` starts
    path: str
    deployment: str = ""  # its TOML, if the server is metagate


TARGETS = [
    Target("metagate-node", "metagate → Node", "node", "metagate", "/bench/node/v1/call/sum",
           f'name = "node"\npath = {json.dumps(str(FUNCTIONS / "node"))}'),
    Target("node-http", "plain Node http", "node", "node-http", "/"),
    Target("metagate-python", "metagate → Python", "python", "metagate", "/bench/python/v1/call/sum",
           f'name = "python"\npath = {json.dumps(str(FUNCTIONS / "python"))}'),
    Target("uvicorn", "uvicorn, bare ASGI", "python", "uvicorn", "/"),
    Target("metagate-wasm", "metagate → wasm function", "wasm", "metagate", "/bench/wasm/v1/call/sum",
           f'name = "wasm"\npath = {json.dumps(str(FUNCTIONS / "wasm" / "sum"))}'),
    Target("metagate-wasm-http", "metagate → wasi:http", "wasm", "metagate", "/bench/wasm-http/v1/http",
           f'name = "wasm-http"\npath = {json.dumps(str(FUNCTIONS / "wasm" / "http"))}'),
    Target("metagate-express", "metagate → Express", "express", "metagate", "/bench/express/v1/http/sum",
           f'name = "express"\npath = {json.dumps(str(APPS / "express"))}\n'
           f"env = {{ NODE_PATH = {json.dumps(str(NPM))} }}"),
    Target("express", "Express alone", "express", "express", "/sum"),
    Target("metagate-fastapi", "metagate → FastAPI", "fastapi", "metagate", "/bench/fastapi/v1/http/sum",
           f'name = "fastapi"\npath = {json.dumps(str(APPS / "fastapi"))}\n'
           f"env = {{ PYTHONPATH = {json.dumps(str(PYPI))} }}"),
    Target("uvicorn-fastapi", "FastAPI under uvicorn", "fastapi", "uvicorn-fastapi", "/sum"),
    Target("wasmtime-serve", "wasmtime serve, wasi:http", "wasm", "wasmtime-serve", "/"),
]
GOALS = [  # column, target, peer, connections, relation, bound of target ÷ peer
    ("requests/s", "metagate-node", "node-http", 64, "≥", 1.2),
    ("requests/s", "metagate-node", "node-http", 1, "≥", 0.85),
    ("requests/s", "metagate-python", "uvicorn", 64, "≥", 1.8),
    ("p99 ms", "metagate-node", "node-http", 64, "≤", 0.8),
    ("requests/s", "metagate-wasm", "wasmtime-serve", 64, "≥", 1.2),
]
RELATIONS = {"≥": operator.ge, "≤": operator.le}
GATEWAY_MEMORY = 15  # MB resident at most, with the deployments of TARGETS, after the load
COLUMNS = {"requests/s": "{:,.0f}", "p50 ms": "{:.3f}", "p99 ms": "{:.2f}",
           "server CPU ms/request": "{:.4f}", "workers' CPU ms/request": "{:.4f}"}
OTHERS = "share of the machine used by other processes"


def built(metagate):
    """Returns the path of the given binary, or of the release build, made if it is missing or stale."""
    if not metagate:  # cargo knows whether the binary is stale
        metagate = TARGET_DIR / "release" / "metagate"
        shutil.which("cargo") or fail("cargo is missing: install Rust, or give a built binary as --metagate PATH")
        run("cargo", "build", "--release", cwd=BENCHES.parent, show=True)[0] or fail("cargo build --release failed")
    shutil.which(metagate) or fail(f"{metagate} is not a program")
    return metagate.resolve()  # the servers start in another folder


def version(*command):
    return re.search(r"\d[\w.]*|$", run(*command)[1])[0]


def prepare(args):
    """Builds metagate and installs uvicorn, fails if a program is missing, and returns facts about the machine."""
    model = re.search(r"model name\s*: (.*)|$", read(Path("/proc/cpuinfo")))[1] or os.uname().machine
    facts = {"cores": len(os.sched_getaffinity(0)), "cpu": model, "kernel": os.uname().release,
             "load average": f"{os.getloadavg()[0]:.2f}"}
    languages, servers = {t.language for t in args.targets}, {t.server for t in args.targets}
    for program, wanted, advice in (("wrk", True, "Debian: apt-get install wrk"),
                                    ("node", languages & {"node", "express"}, "install Node.js, or use --only python"),
                                    ("python3", languages & {"python", "fastapi"},
                                     "install Python 3, or use --only node"),
                                    ("wasmtime", "wasmtime-serve" in servers, "cargo install wasmtime-cli")):
        if wanted:
            shutil.which(program) or fail(f"{program} is missing: {advice}")
            facts[program] = version(program, "-v" if program == "wrk" else "--version")
    for language, package in (("express", NPM / "express"), ("fastapi", PYPI / "fastapi")):
        language not in languages or package.is_dir() or fail(f"{package} is missing: run tests/run.sh once")
    if servers & {"uvicorn", "uvicorn-fastapi"}:
        if not run(PYTHON, "-c", f"import {', '.join(UVICORN)}")[0]:
            print(f"installing {', '.join(UVICORN)} into {VENV}", file=sys.stderr)
            # With the python3 on PATH, which metagate's workers run on too.
            if not (run("python3", "-m", "venv", "--clear", VENV, show=True)[0]
                    and run(PYTHON, "-m", "pip", "install", "-q", *UVICORN, show=True)[0]):
                fail(f"uvicorn is missing and could not be installed: apt-get install python3-venv (Debian), then\n"
                     f"python3 -m venv {VENV} && {PYTHON} -m pip install {' '.join(UVICORN)}\n"
                     "or leave it out with --targets")
        facts["uvicorn"] = " ".join([version(PYTHON, "-m", "uvicorn", "--version")] + [
            f"+ {name} {version(PYTHON, '-c', f'import {name}; print({name}.__version__)')}" for name in UVICORN[1:]])
        version(PYTHON, "--version") == facts["python3"] or fail(f"{VENV} has another Python than the PATH: remove it")
    if "metagate" in servers:
        args.metagate = built(args.metagate)
        facts["metagate"] = version(args.metagate, "--version")
    return facts


def server_command(name, metagate, languages, folder):
    """Returns the command of the server `name`, and variables that it adds to the environment."""
    if name == "metagate":
        # The runtimes of other languages may not be installed.
        wanted = [t for t in TARGETS if t.deployment and t.language in languages]
        deployments = "".join(f"[[deployment]]\n{t.deployment}\n" for t in wanted)
        (folder / "metagate.toml").write_text(f'[server]\nlisten = "127.0.0.1:0"\nprefix = "bench"\n'
                                              f"data_dir = {json.dumps(str(folder / 'data'))}\n{deployments}")
        return [metagate, "serve", folder / "metagate.toml"], {}
    if name in ("node-http", "express"):
        return ["node", BENCHES / "peers" / f"{name}.js"], {"NODE_PATH": NPM}
    if name == "wasmtime-serve":
        return ["wasmtime", "serve", "--addr", "127.0.0.1:0", FUNCTIONS / "wasm" / "http" / "sum-http.wasm"], {}
    options = "--port 0 --loop uvloop --http httptools --lifespan off --no-access-log".split()
    if name == "uvicorn-fastapi":
        return [PYTHON, "-m", "uvicorn", "main:app", *options], {"PYTHONPATH": f"{APPS / 'fastapi'}:{PYPI}"}
    path = f"{BENCHES / 'peers'}:{FUNCTIONS / 'python'}"
    return [PYTHON, "-m", "uvicorn", "asgi:app", *options], {"PYTHONPATH": path}


def validate(target, server):
    for a, b in ((1, 2), (20, 22)):
        status, headers, body = server.request("POST", target.path, json.dumps({"a": a, "b": b}))
        kind, length = headers["content-type"] or "", headers["content-length"]
        # wasmtime serve streams responses, so they have no content-length.
        length = length or str(len(body)) if target.server == "wasmtime-serve" else length
        if (status, body, length) != (200, b"%d" % (a + b), str(len(body))) or "application/json" not in kind:
            fail(f"{target.label}: sum({a}, {b}) answered {status}, {kind}, content-length {length}: {body[:500]!r}")


def measure(target, server, connections, seconds):
    before, begin, (used, ran) = server.cpu(), time.monotonic(), machine_times()
    output = run("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", BENCHES / "sum.lua",
                 f"{server.scheme}://127.0.0.1:{server.port}{target.path}")[1]
    (used_after, ran_after), elapsed, after = machine_times(), time.monotonic() - begin, server.cpu()
    result = json.loads((re.search("^RESULT (.*)", output, re.MULTILINE) or fail(f"wrk failed:\n{output}"))[1])
    requests = result["requests"]
    if result["status"] or result["socket"] or not requests:
        fail(f"{target.label}, {connections} connections: {requests} answers, {result['status']} of them with a status "
             f"of 400 or above, {result['socket']} socket errors; the log:\n{server.check_alive()[-2000:]}")
    cpu = [sum(ns - old.get(thread, 0) for thread, ns in new.items()) / 1e9 for old, new in zip(before, after)]
    others = (used_after - used - (ran_after - ran) - sum(cpu)) / elapsed / os.cpu_count()
    return {"requests/s": requests / result["us"] * 1e6, "p50 ms": result["p50"] / 1e3, "p99 ms": result["p99"] / 1e3,
            "server CPU ms/request": cpu[0] * 1e3 / requests, "workers' CPU ms/request": cpu[1] * 1e3 / requests,
            OTHERS: max(0.0, others)}


def spread(values, form):
    if not any(values):
        return "–"
    return f"{form} ({form}–{form})".format(statistics.median(values), min(values), max(values))


def judge(samples, memory):
    """Returns the rows of the goals; `samples` holds one row per round by (target, connections)."""
    rows = [("goals (medians of the ratios within a round)", "value", "goal", "verdict")]
    for column, target, peer, connections, relation, bound in GOALS:
        pairs = zip(samples.get((target, connections), []), samples.get((peer, connections), []))
        ratios = [ours[column] / theirs[column] for ours, theirs in pairs]
        met = ratios and RELATIONS[relation](statistics.median(ratios), bound)
        rows.append((f"{column} of {target} ÷ {peer}, connections: {connections}",
                     spread(ratios, "{:.2f}") if ratios else "–", f"{relation} {bound}",
                     "met" if met else "missed" if ratios else "not measured"))
    value, verdict = "–", "not measured"
    if memory:
        value, verdict = "{:.1f} (peak {:.1f})".format(*memory), "met" if memory[0] <= GATEWAY_MEMORY else "missed"
    return rows + [("gateway's resident memory after the load, MB", value, f"≤ {GATEWAY_MEMORY}", verdict)]


def print_table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *rest in rows:
        print("  ".join([first.ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(rest, widths[1:])]))
    print()


def compare(args, folder, servers):
    facts, samples = prepare(args), {}
    for name in dict.fromkeys(t.server for t in args.targets):
        languages = {t.language for t in args.targets}
        servers[name] = Server(name, folder, *server_command(name, args.metagate, languages, folder))
        servers[name].wait_ready()
    for target in args.targets:
        validate(target, servers[target.server])
    for target in args.targets:
        measure(target, servers[target.server], max(CONNECTIONS), WARM_UP)
    for number in range(args.rounds):
        # Each round starts with another target, so that a target does not always follow the same one.
        begin = number % len(args.targets)
        for connections in CONNECTIONS:
            for target in args.targets[begin:] + args.targets[:begin]:
                sample = measure(target, servers[target.server], connections, args.seconds)
                samples.setdefault((target.name, connections), []).append(sample)
                print(f"round {number + 1}/{args.rounds}, {connections:>2} connections, {target.label:<20}"
                      f"{sample['requests/s']:>9,.0f} requests/s", file=sys.stderr, flush=True)
    memory = servers["metagate"].memory_mb() if "metagate" in servers else None
    goals = judge(samples, memory)
    print("; ".join(f"{name} {fact}" for name, fact in facts.items()))
    others = spread([sample[OTHERS] for rounds in samples.values() for sample in rounds], "{:.0%}")
    print(f"medians (lowest–highest) of {args.rounds} interleaved rounds of {args.seconds} s, wrk -t1 alongside\n"
          f"{OTHERS}: {others}\nmetagate runs two processes, gateway and worker, where the peers run one\n")
    for connections in CONNECTIONS:
        print_table([(f"connections: {connections}", *COLUMNS)] + [
            (t.label, *(spread([sample[column] for sample in samples[t.name, connections]], form)
                        for column, form in COLUMNS.items())) for t in args.targets])
    print_table(goals)
    if args.json:
        measured = [{"target": name, "connections": connections, "rounds": rounds}
                    for (name, connections), rounds in samples.items()]
        args.json.write_text(json.dumps({"machine": facts, "seconds": args.seconds, "measured": measured, "goals": [
            dict(zip(("name", *goals[0][1:]), row)) for row in goals[1:]]}, indent=1, ensure_ascii=False) + "\n")


def parse_arguments():
    def positive(text):
        return int(text) if int(text) > 0 else parser.error(f"{text} is not above 0")

    def some_of(known):
        return lambda text: [name if name in known else parser.error(f"{name!r} is not one of {', '.join(known)}")
                             for name in text.split(",")]

    names, languages = [t.name for t in TARGETS], list(dict.fromkeys(t.language for t in TARGETS))
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s")
    parser.add_argument("--rounds", type=positive, metavar="N", help="default 5")
    parser.add_argument("--seconds", type=positive, metavar="S", help="of each measurement, whole; default 2")
    parser.add_argument("--only", type=some_of(languages), metavar="LIST",
                        help=f"{','.join(languages)}; default node,python")
    parser.add_argument("--targets", type=some_of(names), metavar="LIST", help=",".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there too")
    parser.add_argument("--metagate", type=Path, metavar="PATH",
                        help="a built binary; default target/release/metagate, built when missing or stale")
    args = parser.parse_args()
    args.rounds, args.seconds = args.rounds or (2 if args.quick else 5), args.seconds or (1 if args.quick else 2)
    only = args.only or (languages if args.targets else ["node", "python"])
    args.targets = [t for t in TARGETS if t.name in (args.targets or names) and t.language in only]
    return args if args.targets else parser.error("no target is left")


def main():
    args, servers = parse_arguments(), {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="metagate-bench-") as folder:
        try:
            compare(args, Path(folder), servers)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
            for server in servers.values():
                server.stop()


if __name__ == "__main__":
    main()
