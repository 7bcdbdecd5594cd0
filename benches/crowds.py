#!/usr/bin/env python3
"""Measures the gateway's memory under crowds of clients that hold on to it: bodies that are not finished, answers that
are not read, idle connections. Each crowd meets a gateway of its own with the default limits, which goes on serving.
"""
import argparse
import json
import resource
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from compare import built, print_table
from processes import Server, fail

MIB = 1 << 20
BUFFERED = 256 * MIB / 1e6  # the default of max_buffered, in MB
SLACK = 64 * MIB / 1e6
IDLE_GOAL = 100  # MB for 10,000 idle connections
IDLE = 9_000  # of 10,000: the limits of open files of this script and of the gateway are often 20,000
CALL = "/bench/echo/v1/call/"
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM, END_HEADERS = 1, 4

FUNCTIONS_JS = """exports.size = (text) => text.length;
exports.large = (bytes) => 'x'.repeat(bytes);
"""


def post(function, length):
    return (f"POST {CALL}{function} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
            f"content-length: {length}\r\n\r\n").encode()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), 30)


def send(connection, data):
    """Sends as much as the gateway takes."""
    connection.settimeout(0.5)
    try:
        connection.sendall(data)
    except OSError:
        pass


class Frames:
    """A connection of HTTP/2 whose frames are written by hand: RFC 9113."""

    def __init__(self, port, window):
        self.socket = connect(port)
        self.buffer = b""
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SETTINGS, 0, 0, struct.pack(">HI", 4, window))

    def send(self, kind, flags, stream, payload):
        head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
        send(self.socket, head + payload)

    def received(self):
        """Returns the whole frames that have arrived by now, as (kind, stream, payload)."""
        self.socket.settimeout(0.005)
        try:
            self.buffer += self.socket.recv(MIB)
        except OSError:
            pass
        frames = []
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            frames.append((self.buffer[3], int.from_bytes(self.buffer[5:9], "big"), self.buffer[9:9 + length]))
            self.buffer = self.buffer[9 + length:]
        return frames

    def post(self, stream, function):
        # HPACK, RFC 7541: indexed `:method: POST` and `:scheme: http`, then literals without indexing.
        block = b"\x83\x86" + b"".join(bytes([index, len(text)]) + text
                                       for index, text in ((4, (CALL + function).encode()), (1, b"bench")))
        self.send(HEADERS, END_HEADERS, stream, block)


def unfinished_bodies(port):
    """150 connections, each with 7.9 MiB of a body of 8 MiB."""
    body = b"[" + b" " * int(7.9 * MIB)
    connections = [connect(port) for _ in range(150)]
    for connection in connections:
        send(connection, post("size", 8 * MIB) + body)
    return connections


def streams_of_one_connection(port):
    """One connection of HTTP/2 with 100 streams of 4 MiB, none of them finished."""
    frames, streams = Frames(port, 65_535), range(1, 201, 2)
    for stream in streams:
        frames.post(stream, "size")
    room = {0: 65_535} | {stream: 65_535 for stream in streams}
    left = {stream: 4 * MIB - 16_384 for stream in streams}
    quiet = time.monotonic() + 3
    while time.monotonic() < quiet:
        for stream in left:
            if size := min(room[0], room[stream], left[stream], 16_384):
                frames.send(DATA, 0, stream, b" " * size)
                for window in (0, stream):
                    room[window] -= size
                left[stream] -= size
        for kind, stream, payload in frames.received():
            if kind == WINDOW_UPDATE and stream in room:
                room[stream] += struct.unpack(">I", payload)[0]
                quiet = time.monotonic() + 3
    return [frames.socket]


def unread_answers(port):
    """60 calls on one connection of HTTP/2 that gives no room for their answers, 11 MB each."""
    frames = Frames(port, 0)
    for stream in range(1, 121, 2):
        frames.post(stream, "large")
        frames.send(DATA, END_STREAM, stream, b"[11000000]")
    return [frames.socket]


def unread_answers_of_many(port):
    """100 connections of HTTP/1 that do not read answers of 15 MB."""
    connections = [connect(port) for _ in range(100)]
    for connection in connections:
        send(connection, post("large", 10) + b"[15000000]")
    return connections


def idle_connections(port):
    """Idle connections, half of which have made a call."""
    connections = []
    for number in range(IDLE):
        connection = connect(port)
        connections.append(connection)
        if number % 2:
            connection.sendall(post("size", 5) + b'["a"]')
            connection.recv(4096)
    return connections


CROWDS = [(unfinished_bodies, BUFFERED + SLACK), (streams_of_one_connection, BUFFERED + SLACK),
          (unread_answers, BUFFERED + SLACK), (unread_answers_of_many, BUFFERED + SLACK),
          (idle_connections, IDLE_GOAL * IDLE / 10_000)]


def configuration(folder):
    functions = folder / "echo"
    functions.mkdir()
    (functions / "index.js").write_text(FUNCTIONS_JS)
    (folder / "metagate.toml").write_text(
        f'[server]\nlisten = "127.0.0.1:0"\nprefix = "bench"\ndata_dir = {json.dumps(str(folder / "data"))}\n'
        f'[[deployment]]\nname = "echo"\npath = {json.dumps(str(functions))}\n')


def measure(metagate, crowd):
    """Returns the memory before, and how much it grew at most; fails if a small call is not served meanwhile."""
    with tempfile.TemporaryDirectory(prefix="metagate-bench-") as name:
        folder = Path(name)
        configuration(folder)
        server = Server("metagate", folder, [metagate, "serve", folder / "metagate.toml"], {})
        try:
            server.wait_ready()
            before = server.memory_mb()[0]
            connections = crowd(server.port)
            time.sleep(3)
            status = server.request("POST", f"{CALL}size", '["abc"]')[0]
            status == 200 or fail(f"{crowd.__name__}: a small call was answered {status}")
            most = server.memory_mb()[1]
            for connection in connections:
                connection.close()
            return before, most - before
        finally:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a part of the crowd's name")
    parser.add_argument("--metagate", type=Path,
                        help="a built binary; default target/release/metagate, built when stale")
    args = parser.parse_args()
    args.metagate = built(args.metagate)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows, missed = [("crowd", "MB before", "grew by MB", "goal MB", "")], False
    for crowd, goal in CROWDS:
        if args.only not in crowd.__name__:
            continue
        print(crowd.__doc__, file=sys.stderr, flush=True)
        before, grew = measure(args.metagate, crowd)
        missed |= grew > goal
        rows.append((crowd.__name__.replace("_", " "), f"{before:.0f}", f"{grew:.0f}", f"{goal:.0f}",
                     "held" if grew <= goal else "missed"))
    print_table(rows)
    sys.exit(missed)


if __name__ == "__main__":
    main()
