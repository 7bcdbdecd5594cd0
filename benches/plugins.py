#!/usr/bin/env python3
"""Measures what plugins cost a call: the same Node function in one gateway, without plugins and behind several chains.

All deployments are in one gateway and take part in every round, so that drift of the machine affects all of them alike;
costs are differences within a round. `wrk` generates the load on the same machine.
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from compare import BENCHES, FUNCTIONS, Target, built, measure, print_table, spread
from processes import Server, fail

PLUGINS = BENCHES.parent / "plugins"
BODY_SIZE = 1_000_000  # bytes of the arguments that no hook reads


class Chain(NamedTuple):
    name: str  # of the deployment
    label: str
    plugins: tuple  # component and configuration of each
    goal: float = 0  # most µs more than without plugins
    ratio: float = 0  # least share of the requests/s without plugins


NOOP = ("noop", "")
API_KEY = ("api-key", '[plugin.config]\nkeys = { bench = "k-bench" }')
RATE_LIMIT = ("rate-limit", "grants = { store = true }\n[plugin.config]\n"
              "limit = 1000000000\nwindow = \"1s\"\nby = \"peer\"")
TRANSFORM = ("transform-args", '[[plugin.config.rules]]\nfunction = "other"\ndefaults = { 0 = 1 }')
SHAPE = ("shape-result", "[plugin.config]\nerrors = { function_error = 422 }")
AUDIT = ("audit-log", "grants = { metrics = true }")
CHAINS = [
    Chain("none", "no plugin", ()),
    Chain("noop", "a no-op before-invoke", (NOOP,), 5, 0.95),
    Chain("apikey", "api-key", (API_KEY,), 10, 0.9),
    Chain("five", "five: api-key, rate-limit, transform-args, shape-result, noop",
          (API_KEY, RATE_LIMIT, TRANSFORM, SHAPE, NOOP), 40, 0.7),
    Chain("javascript", "audit-log, in JavaScript", (AUDIT,)),
]


def configuration(chains, folder):
    text = [f'[server]\nlisten = "127.0.0.1:0"\nprefix = "bench"\ndata_dir = {json.dumps(str(folder / "data"))}\n']
    for chain in chains:
        for name, rest in chain.plugins:
            path = json.dumps(str(PLUGINS / name / f"{name}.wasm"))
            text.append(f'[[plugin]]\nname = "{chain.name}-{name}"\npath = {path}\n'
                        f'deployments = ["{chain.name}"]\ntimeout = "1s"\n{rest}\n')
        text.append(f'[[deployment]]\nname = "{chain.name}"\npath = {json.dumps(str(FUNCTIONS / "node"))}\n')
    # Plugins that apply to no deployment must cost nothing.
    for number in range(100):
        path = json.dumps(str(PLUGINS / "noop" / "noop.wasm"))
        text.append(f'[[plugin]]\nname = "idle-{number}"\npath = {path}\ndeployments = ["nowhere-*"]\n')
    (folder / "metagate.toml").write_text("".join(text))


def difference(samples, chain, column, factor):
    """Returns by how much a column exceeds the one without plugins, in each round."""
    pairs = zip(samples[chain.name], samples["none"])
    return [(ours[column] - theirs[column]) * factor for ours, theirs in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--metagate", type=Path,
                        help="a built binary; default target/release/metagate, built when stale")
    args = parser.parse_args()
    shutil.which("wrk") or fail("wrk is missing: Debian: apt-get install wrk")
    args.metagate = built(args.metagate)
    chains = [chain for chain in CHAINS
              if all((PLUGINS / name / f"{name}.wasm").is_file() for name, _ in chain.plugins)]
    for chain in CHAINS:
        if chain not in chains:
            print(f"skipped because it is not built: {chain.label} (plugins/build-others.sh)", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="metagate-bench-") as name:
        folder = Path(name)
        configuration(chains, folder)
        os.environ["BENCH_KEY"] = "k-bench"  # for sum.lua
        server = Server("metagate", folder, [args.metagate, "serve", folder / "metagate.toml"], {})
        try:
            server.wait_ready()
            report(args, chains, server)
        finally:
            server.stop()


def report(args, chains, server):
    targets = {chain.name: Target(chain.name, chain.label, "node", "metagate", f"/bench/{chain.name}/v1/call/sum")
               for chain in chains}
    by_load = {}
    for connections in (1, 64):
        samples = by_load[connections] = {}
        for number in range(args.rounds + 1):
            begin = number % len(chains)
            for chain in chains[begin:] + chains[:begin]:
                sample = measure(targets[chain.name], server, connections, args.seconds if number else 1)
                if number:  # the first round warms up
                    samples.setdefault(chain.name, []).append(sample)
                    print(f"round {number}/{args.rounds}, {connections:>2} connections, {chain.label:<40}"
                          f"{sample['requests/s']:>9,.0f} requests/s", file=sys.stderr, flush=True)
    status, _, body = server.request("GET", "/api/plugins", "")
    status == 200 or fail(f"/api/plugins answered {status}")
    hooks = {plugin["name"]: plugin for plugin in json.loads(body)}
    idle = sum(plugin["calls"] for name, plugin in hooks.items() if name.startswith("idle-"))
    idle == 0 or fail(f"plugins that apply to no deployment were called {idle} times")
    rows = [("medians of the differences to no plugin within a round", "in hooks µs", "CPU µs/request, 64",
             "p50 µs, 1 connection", "requests/s ratio, 64", "goal")]
    for chain in chains[1:]:
        mine = [plugin for name, plugin in hooks.items() if name.startswith(f"{chain.name}-")]
        inside = sum(p["mean_microseconds"] * p["calls"] for p in mine) / max(p["calls"] for p in mine)
        ratios = [ours["requests/s"] / theirs["requests/s"]
                  for ours, theirs in zip(by_load[64][chain.name], by_load[64]["none"])]
        cpu = difference(by_load[64], chain, "server CPU ms/request", 1e3)
        goal = f"≤ {chain.goal:g} µs, ≥ {chain.ratio:g}" if chain.goal else "–"
        rows.append((chain.label, f"{inside:.1f}", spread(cpu, "{:.1f}"),
                     spread(difference(by_load[1], chain, "p50 ms", 1e3), "{:.0f}"), spread(ratios, "{:.2f}"), goal))
    print_table(rows)
    base = by_load[64]["none"]
    print(f"without a plugin, 64 connections: {statistics.median(s['requests/s'] for s in base):,.0f} requests/s, "
          f"{statistics.median(s['server CPU ms/request'] for s in base) * 1e3:.1f} µs of the gateway's CPU a request")
    large(args, server)
    print(f"gateway's resident memory: {server.memory_mb()[0]:.1f} MB")


def timed(server, path, body):
    begin = time.monotonic()
    status, _, answer = server.request("POST", path, body)
    status == 200 or fail(f"{path} answered {status}: {answer[:500]!r}")
    return time.monotonic() - begin


def large(args, server):
    """Measures calls with a megabyte of arguments that no hook reads, with and without the no-op plugin."""
    arguments = json.dumps(["x" * BODY_SIZE, 1])
    times = {}
    for _ in range(max(args.rounds, 5) * 10):
        for name in ("none", "noop"):
            times.setdefault(name, []).append(timed(server, f"/bench/{name}/v1/call/sum", arguments))
    none, noop = (statistics.median(times[name]) * 1e3 for name in ("none", "noop"))
    print(f"a call with {BODY_SIZE:,} bytes of arguments: {none:.2f} ms, with the no-op hook {noop:.2f} ms")


if __name__ == "__main__":
    main()
