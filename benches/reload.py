#!/usr/bin/env python3
"""Measures how much a reload of many deployments delays calls: the time of each small call to a deployment that does
not change, while nothing happens and while all others are replaced by a change of the configuration.
"""
import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from compare import FUNCTIONS, built, print_table
from neighbour import Connection, latencies, p99
from processes import Server, fail

GOAL = 50  # ms that a call may be delayed by


def configuration(folder, count, timeout):
    """The unchanged neighbour, and deployments whose workers are replaced when `timeout` changes."""
    functions = json.dumps(str(FUNCTIONS / "node"))
    text = f'[server]\nlisten = "127.0.0.1:0"\nprefix = "bench"\ndata_dir = {json.dumps(str(folder / "data"))}\n'
    text += f'[[deployment]]\nname = "neighbour"\npath = {functions}\n'
    for number in range(count):
        text += f'[[deployment]]\nname = "d{number}"\npath = {functions}\nenv = {{ ROUND = "{timeout}" }}\n'
    (folder / "metagate.toml").write_text(text)


def reload(server):
    """Reloads and returns how long it took, in seconds."""
    begin = time.monotonic()
    status, _, body = server.request("POST", "/api/reload")
    status == 200 or fail(f"the reload was answered {status}: {body[:500]!r}")
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--metagate", type=Path,
                        help="a built binary; default target/release/metagate, built when stale")
    args = parser.parse_args()
    args.metagate = built(args.metagate)
    rows, worst = [("round", "reload s", "calls", "p50 ms quiet", "p50 ms", "p99 ms quiet", "p99 ms",
                    "slowest ms quiet", "slowest ms")], 0
    with tempfile.TemporaryDirectory(prefix="metagate-bench-") as name:
        folder = Path(name)
        configuration(folder, args.deployments, 0)
        server = Server("metagate", folder, [args.metagate, "serve", folder / "metagate.toml"], {})
        try:
            server.wait_ready()
            neighbour = Connection(server.port)
            latencies(neighbour, 0.2)
            for number in range(1, args.rounds + 1):
                quiet, busy, took = latencies(neighbour, 3), [], []
                configuration(folder, args.deployments, number)
                reloading = threading.Thread(target=lambda: took.append(reload(server)))
                reloading.start()
                while reloading.is_alive():
                    busy += latencies(neighbour, 0.1)
                reloading.join()
                took or sys.exit(1)
                worst = max(worst, max(busy) - statistics.median(quiet))
                times = [f"{of(part):.2f}" for of in (statistics.median, p99, max) for part in (quiet, busy)]
                rows.append((str(number), f"{took[0]:.2f}", f"{len(busy):,}", *times))
            print_table(rows)
            print(f"a call was delayed by at most {worst:.1f} ms; goal ≤ {GOAL} ms: "
                  f"{'held' if worst <= GOAL else 'missed'}")
        finally:
            server.stop()
    sys.exit(worst > GOAL)


if __name__ == "__main__":
    main()
