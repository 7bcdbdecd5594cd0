#!/usr/bin/env python3
"""Asynchronous calls while the gateway and its workers are killed: none that was accepted is lost.

    benches/accepted.py target/release/metagate --calls 300000

Clients send calls under keys of their own, and send again what was not answered. The gateway is killed every few
seconds and started again, its workers every second. In the end every accepted call must be done, with the right
result, and every key must have one call. Prints the figures, and ends with 1 if one of these does not hold.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

FUNCTIONS = "def double(n: int) -> int:\n    return n * 2\n"
CONFIG = """
[server]
listen = "127.0.0.1:{port}"
prefix = "local"
data_dir = "data"

[async]
attempts = 100
backoff = "50ms"
max_backoff = "1s"
concurrency = 32

[[deployment]]
name = "m"
path = "functions"
workers = 2
"""


class Gateway:
    """A gateway that is killed and started again."""

    def __init__(self, program, folder, port):
        self.program, self.folder, self.port = os.path.abspath(program), folder, port
        self.log = open(os.path.join(folder, "stderr.log"), "ab")
        self.process, self.lock, self.starts = None, threading.Lock(), 0
        self.start()

    def start(self):
        command = [self.program, "serve", "metagate.toml"]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        if not line.startswith(b"listening"):
            raise SystemExit(f"the gateway did not start: {line!r}")
        self.starts += 1

    def kill(self):
        with self.lock:
            self.process.kill()
            self.process.wait()
            self.start()

    def kill_worker(self):
        with self.lock:
            children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
            workers = [int(pid) for pid in children.stdout.split()]
            if workers:
                try:
                    os.kill(random.choice(workers), signal.SIGKILL)
                except ProcessLookupError:
                    pass


@contextlib.contextmanager
def serving(program, functions, tables=""):
    """A gateway in a folder of its own that serves the functions as `m`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.join(folder, "functions"))
        with open(os.path.join(folder, "functions", "main.py"), "w") as file:
            file.write(functions)
        with open(os.path.join(folder, "metagate.toml"), "w") as file:
            file.write(CONFIG.format(port=port) + tables)
        gateway = Gateway(program, folder, port)
        try:
            yield gateway
        finally:
            gateway.process.terminate()
            gateway.process.wait()


class Client:
    """A connection that is opened again when it breaks."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def request(self, method, path, body=None, headers=None):
        """The status and the JSON of an answer; none if there is none."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
            self.connection.request(method, path, body, headers or {})
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError):
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            time.sleep(0.02)
            return None


def send(port, numbers, accepted, times, ended):
    client = Client(port)
    for number in numbers:
        headers = {"content-type": "application/json", "idempotency-key": f"k-{number}"}
        while not ended.is_set():
            begun = time.perf_counter()
            answer = client.request("POST", "/local/m/v1/async/double", json.dumps([number]), headers)
            if answer is not None and answer[0] == 202:
                times.append(time.perf_counter() - begun)
                identity = answer[1]["id"]
                if accepted.setdefault(number, identity) != identity:
                    raise SystemExit(f"key {number} has two calls")
                break
            if answer is not None and answer[0] not in (503, 507):
                print("unexpected answer:", answer, file=sys.stderr)
                ended.set()


def check(port, pairs, wrong, ended):
    client = Client(port)
    for number, identity in pairs:
        while not ended.is_set():
            answer = client.request("GET", f"/api/calls/{identity}?wait=60s")
            if answer is None:
                continue
            status, call = answer
            if status != 200 or call["state"] == "dead" or call.get("result", number * 2) != number * 2:
                wrong.append((number, status, call))
                break
            if call["state"] == "done":
                break


def every(seconds, act, ended):
    while not ended.wait(seconds):
        act()


def in_threads(target, shares):
    threads = [threading.Thread(target=target, args=share) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the metagate program")
    parser.add_argument("--calls", type=int, default=300_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--kill-gateway", type=float, default=5, help="seconds between two kills; 0 for none")
    parser.add_argument("--kill-worker", type=float, default=1, help="seconds between two kills; 0 for none")
    options = parser.parse_args()
    with serving(options.program, FUNCTIONS) as gateway:
        return run(gateway, options)


def run(gateway, options):
    ended, failed = threading.Event(), threading.Event()
    for seconds, act in ((options.kill_gateway, gateway.kill), (options.kill_worker, gateway.kill_worker)):
        if seconds:
            threading.Thread(target=every, args=(seconds, act, ended), daemon=True).start()
    accepted, times, wrong = {}, [], []
    count, clients = options.calls, options.clients
    begun = time.perf_counter()
    shares = [range(first, count, clients) for first in range(clients)]
    in_threads(send, [(gateway.port, share, accepted, times, failed) for share in shares])
    sent = time.perf_counter() - begun
    pairs = sorted(accepted.items())
    in_threads(check, [(gateway.port, pairs[first::clients], wrong, failed) for first in range(clients)])
    whole = time.perf_counter() - begun
    ended.set()
    quantiles = statistics.quantiles(times, n=100)
    listed = Client(gateway.port).request("GET", "/api/calls?state=dead&limit=500")
    dead = len(listed[1]["calls"]) if listed else -1
    waiting = listed[1]["waiting"] if listed else -1
    figures = {
        "calls": count,
        "accepted": len(accepted),
        "accepted_per_second": round(len(accepted) / sent),
        "done_after_seconds": round(whole, 1),
        "acceptance_ms": {"p50": round(quantiles[49] * 1000, 2), "p99": round(quantiles[98] * 1000, 2)},
        "starts_of_the_gateway": gateway.starts,
        "dead": dead,
        "waiting": waiting,
        "wrong": len(wrong),
    }
    print(json.dumps(figures))
    for one in wrong[:5]:
        print("wrong:", one, file=sys.stderr)
    is_right = len(accepted) == count and not wrong and dead == 0 and waiting == 0 and not failed.is_set()
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
