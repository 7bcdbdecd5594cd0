#!/usr/bin/env python3
"""Measures how much hostile clients delay a neighbour: the p99 of small calls, alone and while four clients attack.

The neighbour makes one call after another at a steady pace, to a deployment of its own. Each kind of attack runs on
four connections as fast as the gateway allows; quiet and hostile seconds alternate, so that drift of the machine
affects both alike. The hostile clients have the lowest priority: on other machines they would not use these cores.
"""
import argparse
import gzip
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, NamedTuple

from compare import FUNCTIONS, built, print_table
from processes import Server, fail

CLIENTS = 4
GOAL = 20  # ms that the neighbour's p99 may grow by
PACE = 0.004  # seconds from one call of the neighbour to the next
NEIGHBOUR, CALL, OTHER = "/bench/neighbour/v1/call/sum", "/bench/sum/v1/call/sum", "/bench/sum/v1/call/none"
FILE_SIZE = 64 << 20


class Attack(NamedTuple):
    name: str
    request: Callable  # returns the bytes that are sent again and again
    answers: int = 1  # expected for each time


def post(path, body, *headers):
    head = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def get(path):
    return f"GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode()


def keys():
    """An object of 600,000 keys that look like integers, in 6 MiB."""
    return post(CALL, ("{" + ",".join(f'"{n}":1' for n in range(600_000, 0, -1)) + "}").encode())


def bomb(size):
    return post(CALL, gzip.compress(b"[" + b" " * size + b"]", 9), "content-encoding: gzip")


ATTACKS = [
    Attack("600,000 keys in 6 MiB", keys),
    Attack("400,000 arguments", lambda: post(CALL, json.dumps([1] * 400_000).encode())),
    Attack("gzip bombs of 256 MiB", lambda: bomb(256 << 20)),
    Attack("gzip bombs of 7 MiB", lambda: bomb(7 << 20)),
    Attack("gzip bombs of 1 MiB", lambda: bomb((1 << 20) - 2)),
    Attack("8 MB for an unknown function", lambda: post(OTHER, json.dumps(["x" * 8_000_000]).encode())),
    Attack("8 MB of text", lambda: post(CALL, json.dumps(["x" * 8_000_000]).encode())),
    Attack("pipelining, 1,000 calls at once", lambda: post(CALL, b"[1,2]") * 1000, 1000),
    Attack("pipelining, 1,000 health checks", lambda: get("/healthz") * 1000, 1000),
    Attack("a file of 64 MiB", lambda: get("/bench/sum/v1/static/large.bin")),
]


class Connection:
    """A connection of HTTP/1.1 that is opened again when the gateway has closed it."""

    def __init__(self, port):
        self.port, self.socket = port, None

    def ask(self, request, answers=1):
        """Sends a request and reads its answers; returns the last status, or 0 if the connection ended."""
        try:
            if not self.socket:
                self.socket = socket.create_connection(("127.0.0.1", self.port), 30)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.buffer = bytearray()
            self.socket.sendall(request)
            for _ in range(answers):
                status = self.read_answer()
            return status
        except OSError:
            self.socket = self.socket and self.socket.close()
            return 0

    def read_answer(self):
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            self.receive()
        head = bytes(self.buffer[:end]).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        del self.buffer[:end + 4]
        while length > len(self.buffer):
            length -= len(self.buffer)
            self.buffer.clear()
            self.receive()
        del self.buffer[:length]
        if b"\r\nconnection: close" in head:
            self.socket = self.socket.close()
        return int(head.split()[1])

    def receive(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data


def attack(request, answers, port, running, statuses):
    os.nice(19)
    connection = Connection(port)
    while True:
        running.wait()
        status = connection.ask(request, answers)
        with statuses.get_lock():
            statuses[status] += answers


def latencies(connection, seconds):
    """Calls for some seconds; returns the time of each call in ms."""
    request, times, end = post(NEIGHBOUR, b"[1,2]"), [], time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        status = connection.ask(request)
        took = time.monotonic() - begin
        status == 200 or fail(f"the neighbour's call was answered {status}")
        times.append(took * 1e3)
        time.sleep(max(0, PACE - took))
    return times


def p99(times):
    return statistics.quantiles(times, n=100)[98]


def measure(kind, port, rounds, seconds):
    """Returns the neighbour's times without and with the attack, and what the attackers were answered."""
    context = multiprocessing.get_context("fork")
    running, statuses = context.Event(), context.Array("q", 600)
    arguments = (kind.request(), kind.answers, port, running, statuses)
    clients = [context.Process(target=attack, args=arguments, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        neighbour, quiet, hostile = Connection(port), [], []
        latencies(neighbour, 0.2)
        for _ in range(rounds):
            quiet += latencies(neighbour, seconds)
            running.set()
            hostile += latencies(neighbour, seconds)
            running.clear()
            time.sleep(0.5)  # the last requests of the attackers
    finally:
        for client in clients:
            client.kill()
            client.join()
    return quiet, hostile, {status: count for status, count in enumerate(statuses) if count}


def configuration(folder):
    functions = folder / "sum"
    functions.mkdir()
    for file in (FUNCTIONS / "node").iterdir():
        (functions / file.name).write_bytes(file.read_bytes())
    with (functions / "large.bin").open("wb") as file:
        file.truncate(FILE_SIZE)
    (folder / "metagate.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:0"\nprefix = "bench"\ndata_dir = {json.dumps(str(folder / "data"))}\n'
        f'[[deployment]]\nname = "sum"\npath = {json.dumps(str(functions))}\nstatic_files = true\n'
        f'[[deployment]]\nname = "neighbour"\npath = {json.dumps(str(FUNCTIONS / "node"))}\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="of each quiet and each hostile part")
    parser.add_argument("--only", default="", help="a part of the attack's name")
    parser.add_argument("--metagate", type=Path,
                        help="a built binary; default target/release/metagate, built when stale")
    args = parser.parse_args()
    args.metagate = built(args.metagate)
    rows, worst = [("attack by 4 clients", "p50 ms alone", "p50 ms", "p99 ms alone", "p99 ms", "slowest ms",
                    "p99 grew by ms", "answers to the attackers")], 0
    with tempfile.TemporaryDirectory(prefix="metagate-bench-") as name:
        folder = Path(name)
        configuration(folder)
        server = Server("metagate", folder, [args.metagate, "serve", folder / "metagate.toml"], {})
        try:
            server.wait_ready()
            for kind in ATTACKS:
                if args.only not in kind.name:
                    continue
                print(kind.name, file=sys.stderr, flush=True)
                quiet, hostile, statuses = measure(kind, server.port, args.rounds, args.seconds)
                grew = p99(hostile) - p99(quiet)
                worst = max(worst, grew)
                answers = ", ".join(f"{count:,} × {status or 'closed'}" for status, count in statuses.items())
                rows.append((kind.name, f"{statistics.median(quiet):.2f}", f"{statistics.median(hostile):.2f}",
                             f"{p99(quiet):.2f}", f"{p99(hostile):.2f}", f"{max(hostile):.1f}", f"{grew:.1f}", answers))
            verdict = f"goal ≤ {GOAL} ms: {'held' if worst <= GOAL else 'missed'}"
            rows.append(("worst", "", "", "", "", "", f"{worst:.1f}", verdict))
            print_table(rows)
            print(f"gateway's resident memory: {server.memory_mb()[0]:.0f} MB, at most {server.memory_mb()[1]:.0f} MB")
        finally:
            server.stop()
    sys.exit(worst > GOAL)


if __name__ == "__main__":
    main()
