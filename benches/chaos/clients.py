"""Clients of a run: processes with many connections each. Every call carries a nonce and is sent once; what becomes of
it is written to the history. A client never retries, and reads no more than it must of HTTP.
"""
import json
import multiprocessing
import random
import re
import select
import socket
import time

from history import Call

FORK = multiprocessing.get_context("fork")  # of a process without threads
HUNG = 30  # seconds without an answer; calls have a timeout of 5 s, and wait at most as long in the queue
PAUSE = 0.02  # seconds after an error, before the next call of a connection
CONNECT_PAUSE = 0.05  # seconds between attempts to connect
LARGE = "x" * 60_000
TRAPS = 0.01  # share of the calls to guarded deployments at which the plugin traps
TRAPS_IN_A_BURST = 0.7
LEAVES, SLOW, LARGE_BODIES = 0.005, 0.03, 0.02  # shares of calls
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CODE = re.compile(rb"\r\nx-metagate-error: *(\w+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Load:
    """What all clients share: the calls that are left, and whether the plugin is to trap often."""

    def __init__(self, port, folder, seed, deployments, calls, rate):
        self.port, self.folder, self.seed, self.deployments, self.rate = port, folder, seed, deployments, rate
        self.calls = calls
        self.left = FORK.Value("q", calls)
        self.burst = FORK.Value("b", 0)
        self.over = FORK.Value("b", 0)

    def done(self):
        """Returns the share of the calls that have been made."""
        return min(1, 1 - self.left.value / self.calls)


class Connection:
    """A connection of a client and its call in flight."""

    def __init__(self, client):
        self.client, self.socket, self.call = client, None, None
        self.unsent, self.received, self.leaves, self.wait_until = b"", b"", False, 0
        self.waits_to_send = False

    def connect(self, now):
        self.socket = socket.socket()
        try:
            self.socket.connect(("127.0.0.1", self.client.load.port))
        except OSError:
            self.socket.close()
            self.socket, self.wait_until = None, now + CONNECT_PAUSE
            return
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.by_descriptor[self.socket.fileno()] = self
        self.client.poll.register(self.socket, select.EPOLLIN)

    def close(self):
        del self.client.by_descriptor[self.socket.fileno()]
        self.client.poll.unregister(self.socket)
        self.socket.close()
        self.socket, self.received, self.unsent, self.waits_to_send = None, b"", b"", False

    def end(self, outcome, answered="-", release=0, closes=False):
        """Records what became of the call."""
        now = time.monotonic()
        self.client.record(self.call._replace(ended=now, outcome=outcome, answered=answered, release=release))
        self.call = None
        if closes:
            self.close()
        if outcome != "200 -":
            self.wait_until = now + PAUSE

    def start(self, now):
        if self.socket is None:
            self.connect(now)
        if self.socket is None or not self.client.take():
            return
        self.call, self.leaves, self.unsent = self.client.next_call(now)
        self.send()

    def send(self):
        try:
            sent = self.socket.send(self.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.end("broken", closes=True)
            return
        self.unsent = self.unsent[sent:]
        if bool(self.unsent) != self.waits_to_send:
            self.waits_to_send = bool(self.unsent)
            events = select.EPOLLIN | (select.EPOLLOUT if self.unsent else 0)
            self.client.poll.modify(self.socket, events)
        if not self.unsent and self.leaves:
            self.end("left", closes=True)

    def receive(self):
        try:
            data = self.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if self.call is None:  # an idle connection that the gateway closes, or an answer that nobody waits for
            if data:
                self.client.record_stray(data)
            self.close()
            return
        self.received += data
        head, found, rest = self.received.partition(b"\r\n\r\n")
        length = found and LENGTH.search(head)
        if length and len(rest) >= int(length[1]):
            self.finish(head, rest[:int(length[1])], rest[int(length[1]):])
        elif not data:
            self.end("broken", closes=True)

    def finish(self, head, body, more):
        self.received = b""
        status, code = head[9:12].decode(), CODE.search(head)
        answered, release = "-", 0
        if status == "200":
            try:
                result = json.loads(body)
                answered, release = str(result["nonce"]), int(result["release"])
            except (ValueError, KeyError, TypeError):
                answered = "(other)"
        if more:
            self.client.record_stray(more)
        # The rest of a request that was refused before its end is not sent.
        closes = bool(more or self.unsent or CLOSE.search(head))
        self.end(f"{status} {code[1].decode() if code else '-'}", answered, release, closes)


class Client:
    """One process with its connections."""

    def __init__(self, load, number, connections):
        self.load, self.number, self.made = load, number, 0
        self.random = random.Random(f"{load.seed} client {number}")
        self.poll, self.by_descriptor = select.epoll(), {}
        self.file = (load.folder / f"calls-{number}.tsv").open("w")
        self.connections = [Connection(self) for _ in range(connections)]

    def record(self, call):
        self.file.write(call.line())

    def record_stray(self, data):
        """Records bytes that belong to no call, as an answer with the nonce that they contain."""
        nonce = re.search(rb'"nonce": ?"([^"]+)"', data)
        now = time.monotonic()
        self.file.write(Call("(stray)", "-", now, now, "stray", nonce[1].decode() if nonce else "-").line())

    def take(self):
        """Takes one of the calls that are left."""
        if self.load.over.value:
            return False
        with self.load.left.get_lock():
            self.load.left.value -= 1
        return True

    def next_call(self, now):
        """Returns the next call, whether the client leaves at once, and the request."""
        self.made += 1
        nonce = f"{self.number}-{self.made}"
        deployment = self.random.choice(self.load.deployments)
        guarded = deployment.startswith("folder")
        share = TRAPS_IN_A_BURST if self.load.burst.value else TRAPS
        header = "x-do: u\r\n" if guarded and self.random.random() < share else ""
        function = "slow" if self.random.random() < SLOW else "quick"
        padding = LARGE if self.random.random() < LARGE_BODIES else ""
        body = json.dumps([nonce, padding])
        head = (f"POST /chaos/{deployment}/v1/call/{function} HTTP/1.1\r\nhost: chaos\r\n{header}"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n")
        return Call(nonce, deployment, now, now, ""), self.random.random() < LEAVES, (head + body).encode()

    def look_for_hung(self, now):
        for connection in self.connections:
            if connection.call and now - connection.call.began > HUNG:
                connection.end("hung", closes=True)

    def run(self):
        """Calls until no calls are wanted any more and all of its own have ended."""
        looked, allowance, before = time.monotonic(), 0, time.monotonic()
        while not self.load.over.value or any(connection.call for connection in self.connections):
            now = time.monotonic()
            allowance = min(50, allowance + (now - before) * self.load.rate)
            before = now
            for connection in self.connections:
                if connection.call is None and now >= connection.wait_until:
                    if self.load.rate and allowance < 1:
                        break
                    allowance -= 1
                    connection.start(time.monotonic())
            for descriptor, event in self.poll.poll(0.01):
                connection = self.by_descriptor.get(descriptor)
                if connection and event & select.EPOLLOUT and connection.unsent:
                    connection.send()
                if connection and connection.socket and event & ~select.EPOLLOUT:
                    connection.receive()
            if now - looked > 1:
                looked = now
                self.look_for_hung(now)
                self.random.shuffle(self.connections)
        self.file.close()


def start(load, processes, connections):
    """Starts the clients' processes, which end by themselves once the load is over."""
    return [start_process(lambda n=number: Client(load, n, connections).run()) for number in range(processes)]


def start_process(run):
    process = FORK.Process(target=run, daemon=True)
    process.start()
    return process
