#!/usr/bin/env python3
"""Calls functions and reads streams of Node and Python while a nemesis kills and freezes workers, fills the disk and
the log, takes descriptors, deploys and reloads, has a plugin trap, and kills and restarts the gateway. Then checks the
whole history: no call is lost, answered wrongly, run twice, or answered by an old release; no stream that breaks off
looks complete; no process is left; the gateway's memory does not grow.
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import clients  # noqa: E402
import history  # noqa: E402
import streams  # noqa: E402
from compare import built  # noqa: E402
from gateway import Gateway  # noqa: E402
from nemesis import Nemesis  # noqa: E402
from processes import fail  # noqa: E402

EXAMPLES = """examples:
  python3 benches/chaos                                20,000 calls
  python3 benches/chaos --calls 1000000                a million: several minutes
  python3 benches/chaos --seed 7 --keep /tmp/history   the acts of a run again, and its history
  python3 benches/chaos --check /tmp/history           check a history again"""
OWN_MOUNTS = "METAGATE_CHAOS_MOUNTS"
READY = 60  # seconds for the first releases
PATIENCE = 60  # seconds beyond the longest call until the clients must have ended
LEFTOVERS = 10  # seconds until no process may be left


def enter_own_mounts():
    """Runs this program again with mounts of its own, where the machine allows it: the disk that the nemesis fills
    vanishes with it."""
    if os.environ.get(OWN_MOUNTS):
        return
    os.environ[OWN_MOUNTS] = "tried"
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if shutil.which("unshare") and subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode == 0:
        os.execvp(command[0], [*command, sys.executable, *sys.argv])


def wait_until(what, is_so, seconds):
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return fail(f"{what}: not within {seconds} s") if what else False
        time.sleep(0.05)
    return True


def prepare(gateway):
    """Starts the gateway and makes the first releases."""
    for name in ("folder-node", "folder-python"):
        gateway.note("begun", name, 1)
    gateway.start()
    for language in ("node", "python"):
        outcome = gateway.ship(language)
        outcome == "200 -" or fail(f"the first release of {language}: {outcome}\n{gateway.log.tail()}")
    wait_until("/readyz is 200", lambda: gateway.request("GET", "/readyz")[0] == 200, READY)


def finish(gateway, load, started):
    """Ends the clients and then the gateway, and looks for processes that are left."""
    load.over.value = 1
    deadline = time.monotonic() + clients.HUNG + PATIENCE
    for process in started:
        process.join(max(0, deadline - time.monotonic()))
        process.exitcode == 0 or fail(f"a client has not ended in order: {process.exitcode}")
    if gateway.process.poll() is None:
        gateway.stop()
    if not wait_until(None, lambda: not gateway.leftovers(), LEFTOVERS):
        for pid, command in gateway.leftovers():
            gateway.note("left", pid, command)
            os.kill(int(pid), 9)


def run(args, folder):
    gateway = Gateway(args.metagate, folder)
    try:
        prepare(gateway)
        load = clients.Load(gateway.port, folder, args.seed, gateway.deployments(), args.calls, args.rate)
        started = clients.start(load, args.processes, args.connections)
        if args.streams:
            started += [clients.start_process(streams.Streams(load, args.processes, args.streams).run)]
        nemesis = Nemesis(gateway, load, args.seed, args.pause)
        nemesis.run()
        finish(gateway, load, started)
    finally:
        gateway.close()
    print("acts: " + ", ".join(f"{count} {name}" for name, count in nemesis.counts.items()))
    gateway.has_disk or print("no mount is allowed here: the disk was not full, the gateway was not allowed to write")


def report(folder, slack):
    """Prints what the checker finds. Returns whether it finds a fault."""
    faults, outcomes, quarters = history.check(folder, slack)
    print(f"{outcomes.total()} calls: " + ", ".join(f"{count} {name}" for name, count in outcomes.most_common()))
    if quarters:
        print("memory of the last gateway: {:.1f} MB in the first quarter of its life, {:.1f} MB in the last"
              .format(*(size / 1e6 for size in quarters)))
    for kind, count in faults.counts.items():
        print(f"FAULT {kind}: {count}")
        for example in faults.examples[kind]:
            print(f"  {example}")
    kinds = ("hung", "broken", "unexplained", "wrong", "twice", "old", "leaked", "died", "grown", "idle")
    print("; ".join(f"{faults.counts[kind]} {kind}" for kind in kinds))
    return bool(faults.counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000, help="calls at least; one deck of acts is always dealt")
    parser.add_argument("--rate", type=int, default=0, help="calls a second of each client; 0: as many as possible")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the acts; default: random")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two acts, on average")
    parser.add_argument("--processes", type=int, default=2, help="processes of clients")
    parser.add_argument("--connections", type=int, default=16, help="connections of each of them")
    parser.add_argument("--streams", type=int, default=16, help="readers of streams, in a process of their own")
    parser.add_argument("--slack", type=int, default=0, help="bytes by which memory may grow beyond 10 percent")
    parser.add_argument("--keep", type=Path, help="a new folder for the history and the log")
    parser.add_argument("--check", type=Path, help="only check this history")
    parser.add_argument("--metagate", type=Path,
                        help="a built binary; default target/release/metagate, built when stale")
    args = parser.parse_args()
    if args.check:
        sys.exit(report(args.check, args.slack))
    args.metagate = built(args.metagate)
    enter_own_mounts()
    print(f"seed {args.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="metagate-chaos-") as name:
        folder = args.keep.absolute() if args.keep else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        run(args, folder)
        print(f"{time.monotonic() - began:.0f} s")
        sys.exit(report(folder, args.slack))


if __name__ == "__main__":
    main()
