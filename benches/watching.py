#!/usr/bin/env python3
"""Measures what metrics, access log, traces, dashboard and TLS cost a call: one build, one function, several gateways.

All gateways run side by side and take part in every round, so that drift of the machine affects all of them alike;
ratios are taken within a round, to a gateway in which all of it is switched off. `wrk` generates the load on the same
machine.
"""
import argparse
import http.server
import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from compare import FUNCTIONS, Target, built, measure, print_table, spread
from processes import Server, fail, run

CPU = "server CPU ms/request"


class Setting(NamedTuple):
    name: str
    label: str
    tables: str
    metrics: bool = False
    dashboard: bool = False


TLS = 'cert = "cert.pem"\nkey = "key.pem"\n'
TRACES = '[traces]\nendpoint = "COLLECTOR"\n'
SETTINGS = [
    Setting("off", "all switched off", ""),
    Setting("metrics", "metrics", "", metrics=True),
    Setting("dashboard", "dashboard", "", dashboard=True),
    Setting("usual", "metrics and dashboard (as without configuration)", "", metrics=True, dashboard=True),
    Setting("log", "access log, each call", '[access_log]\nfile = "access.log"\n'),
    Setting("sampled-log", "access log, one call of 100", '[access_log]\nfile = "access.log"\nsample = 100\n'),
    Setting("traces", "traces, each call", TRACES),
    Setting("sampled-traces", "traces, one call of 100", f"{TRACES}sample = 0.01\n"),
    Setting("all", "all of them, each call", f'[access_log]\nfile = "access.log"\n{TRACES}', True, True),
    Setting("tls-beside", "TLS at another address", f'[admin]\nlisten = "127.0.0.1:0"\n[[admin.tls]]\n{TLS}'),
    Setting("tls", "calls over TLS", f"[[server.tls]]\n{TLS}"),
]


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes the spans and throws them away."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def start(setting, folder, metagate, collector):
    """Starts a gateway in a folder of its own."""
    own = folder / setting.name
    own.mkdir()
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", own / "key.pem",
        "-out", own / "cert.pem")[0] or fail("openssl could not make a certificate")
    switch = {True: "true", False: "false"}
    (own / "metagate.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:0"\nprefix = "bench"\ndata_dir = "data"\n'
        f"[metrics]\nenabled = {switch[setting.metrics]}\n[dashboard]\nenabled = {switch[setting.dashboard]}\n"
        f"{setting.tables.replace('COLLECTOR', collector)}"
        f'[[deployment]]\nname = "node"\npath = {json.dumps(str(FUNCTIONS / "node"))}\n')
    server = Server("metagate", own, [metagate, "serve", own / "metagate.toml"], {})
    return server


def report(args, servers):
    target = {s.name: Target(s.name, s.label, "node", "metagate", "/bench/node/v1/call/sum") for s in args.settings}
    for connections in (64, 1):
        samples = {}
        for number in range(args.rounds + 1):
            begin = number % len(args.settings)
            for setting in args.settings[begin:] + args.settings[:begin]:
                sample = measure(target[setting.name], servers[setting.name], connections,
                                 args.seconds if number else 1)
                if number:  # the first round warms up
                    samples.setdefault(setting.name, []).append(sample)
                    print(f"round {number}/{args.rounds}, {connections:>2} connections, {setting.label:<50}"
                          f"{sample['requests/s']:>9,.0f} requests/s", file=sys.stderr, flush=True)
        rows = [(f"{connections} connections; ratios to all switched off, within a round", "gateway's CPU µs a call",
                 "ratio of that", "ratio of requests/s", "ratio of p50", "ratio of p99")]
        for setting in args.settings:
            mine, off = samples[setting.name], samples["off"]
            ratios = [[ours[column] / theirs[column] for ours, theirs in zip(mine, off)]
                      for column in (CPU, "requests/s", "p50 ms", "p99 ms")]
            rows.append((setting.label, f"{statistics.median(s[CPU] for s in mine) * 1e3:.1f}",
                         *(spread(values, "{:.2f}") for values in ratios)))
        print_table(rows)
    memory = ", ".join(f"{setting.label} {servers[setting.name].memory_mb()[0]:.1f}" for setting in args.settings)
    print(f"resident memory after the load, MB: {memory}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--only", help=f"names with commas, of {', '.join(names)}")
    parser.add_argument("--metagate", type=Path,
                        help="a built binary; default target/release/metagate, built when stale")
    args = parser.parse_args()
    only = {"off", *(args.only or ",".join(names)).split(",")}
    only <= set(names) or fail(f"not known: {', '.join(sorted(only - set(names)))}")
    args.settings = [setting for setting in SETTINGS if setting.name in only]
    for program in ("wrk", "openssl"):
        shutil.which(program) or fail(f"{program} is missing: Debian: apt-get install {program}")
    args.metagate = built(args.metagate)
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    collector = multiprocessing.Process(target=receiver.serve_forever, daemon=True)
    collector.start()
    servers = {}
    with tempfile.TemporaryDirectory(prefix="metagate-bench-") as name:
        try:
            for setting in args.settings:
                address = f"http://127.0.0.1:{receiver.server_port}"
                servers[setting.name] = start(setting, Path(name), args.metagate, address)
            for server in servers.values():
                server.wait_ready()
            report(args, servers)
        finally:
            for server in servers.values():
                server.stop()
            collector.terminate()


if __name__ == "__main__":
    main()
