#!/usr/bin/env python3
"""Schedules while the gateway is killed: each time of each schedule has one call, none is missed and none made twice.

    benches/schedules.py target/release/metagate --schedules 10000 --restarts 20

All schedules have the same period, and are spread over it by the gateway's own doing only. In the end the file of the
queue is read: each schedule must have as many calls as times have passed. Prints the figures, and ends with 1 if this
does not hold.
"""

import argparse
import collections
import json
import os
import sqlite3
import sys
import time

from accepted import Client, serving

FUNCTIONS = "def tick(n: int) -> int:\n    return n\n"
SCHEDULE = """
[[schedule]]
name = "s{n}"
to = "m/tick"
every = "{period}s"
arguments = [{n}]
missed = "once"
overlap = true
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the metagate program")
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--period", type=int, default=30, help="seconds between two times of a schedule")
    parser.add_argument("--between", type=float, default=11, help="seconds between two kills")
    options = parser.parse_args()
    tables = "".join(SCHEDULE.format(n=n, period=options.period) for n in range(options.schedules))
    # Every schedule begins in the same period.
    wait_for_phase(options.period, 2)
    with serving(options.program, FUNCTIONS, tables) as gateway:
        return run(gateway, options)


def wait_for_phase(period, phase):
    """Waits until so many seconds of a period have passed."""
    time.sleep((phase - time.time()) % period)


def run(gateway, options):
    first = int(time.time() // options.period)
    for _ in range(options.restarts):
        time.sleep(options.between)
        gateway.kill()
    wait_for_phase(options.period, options.period - 2)
    times = int(time.time() // options.period) - first
    client = Client(gateway.port)
    while client.request("GET", "/api/calls?limit=1")[1]["waiting"] > 0:
        time.sleep(1)
    passed = int(time.time() // options.period) - first
    calls, states = calls_by_schedule(os.path.join(gateway.folder, "data", "async", "calls.sqlite"))
    expected = {times, passed}
    missed = sum(max(0, times - calls[f"schedule s{n}"]) for n in range(options.schedules))
    twice = sum(max(0, calls[f"schedule s{n}"] - passed) for n in range(options.schedules))
    figures = {
        "schedules": options.schedules,
        "starts_of_the_gateway": gateway.starts,
        "times": sorted(expected),
        "calls": sum(calls.values()),
        "states": states,
        "missed": missed,
        "twice": twice,
    }
    print(json.dumps(figures))
    return 0 if missed == 0 and twice == 0 else 1


def calls_by_schedule(file):
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT origin, count(*) FROM calls GROUP BY origin").fetchall()
        states = database.execute("SELECT state, count(*) FROM calls GROUP BY state").fetchall()
    return collections.Counter(dict(rows)), dict(states)


if __name__ == "__main__":
    sys.exit(main())
