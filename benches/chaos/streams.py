"""Readers of streams: one process with a thread for each. A stream is read whole, slowly, or left midway; an endless
one is left after a while, unless something ends it before. What is read is compared piece by piece: a stream that is
complete has its whole content, and one that is not ends visibly, without its last chunk.
"""
import json
import random
import socket
import threading
import time

from history import Call

SILENT = 30  # seconds without a byte: the gateway hangs
ITEMS = 400  # of a stream at most, of some 30 bytes each; one in ten is large
ENDLESS = 8  # seconds until a reader of an endless stream leaves; a gateway that stops waits less
PAUSE = 0.05  # seconds after a stream
CONNECT_PAUSE = 0.05  # seconds between attempts to connect
STYLES = ("whole", "whole", "slow", "leaves", "endless")
BODY = 300_000  # bytes of an upload that is never ended
UPLOADS = 0.1  # share of uploads among the streams


class Broken(Exception):
    """The connection ended early."""


class Reader:
    """A connection for one stream."""

    def __init__(self, port):
        self.socket, self.rest = socket.create_connection(("127.0.0.1", port), timeout=SILENT), b""

    def send(self, data):
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken from error

    def fill(self):
        try:
            data = self.socket.recv(4096)
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken from error
        if not data:
            raise Broken
        self.rest += data

    def until(self, end):
        while end not in self.rest:
            self.fill()
        found, _, self.rest = self.rest.partition(end)
        return found

    def exactly(self, count):
        while len(self.rest) < count:
            self.fill()
        found, self.rest = self.rest[:count], self.rest[count:]
        return found

    def head(self):
        """Returns status and headers."""
        line, *fields = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        return line.split(" ")[1], {name.lower(): value.strip() for name, _, value in
                                    (field.partition(":") for field in fields)}

    def pieces(self, headers):
        """The body as it comes. Its end is the last chunk, or the announced length."""
        if "content-length" in headers:
            yield self.exactly(int(headers["content-length"]))
            return
        while size := int(self.until(b"\r\n"), 16):
            yield self.exactly(size)
            self.until(b"\r\n")
        self.until(b"\r\n")


class Streams:
    """The readers of one process."""

    def __init__(self, load, number, readers):
        self.load, self.number, self.readers, self.made = load, number, readers, 0
        self.file = (load.folder / f"calls-{number}.tsv").open("w")
        self.lock = threading.Lock()

    def run(self):
        threads = [threading.Thread(target=self.read_on, args=(index,)) for index in range(self.readers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.file.close()

    def read_on(self, index):
        draw = random.Random(f"{self.load.seed} streams {self.number} {index}")
        while not self.load.over.value:
            try:
                reader = Reader(self.load.port)
            except OSError:  # no gateway runs
                time.sleep(CONNECT_PAUSE)
                continue
            with self.lock:
                self.made += 1
                nonce = f"s{self.number}-{self.made}"
            call = Call(nonce, draw.choice(self.load.deployments), time.monotonic(), 0, "")
            act = upload if draw.random() < UPLOADS else stream
            outcome, release = act(reader, call, draw)
            reader.socket.close()
            with self.lock:
                self.file.write(call._replace(ended=time.monotonic(), outcome=outcome, release=release,
                                              answered=call.nonce if outcome == "200 -" else "-").line())
            time.sleep(PAUSE)


def stream(reader, call, draw):
    """Returns the outcome and the release that has answered."""
    style, count = draw.choice(STYLES), draw.randrange(1, ITEMS)
    count = -1 if style == "endless" else count
    body = json.dumps([call.nonce, count])
    content = Content(call.nonce, count)
    leaves_at = draw.random() * (ENDLESS if style == "endless" else 1)
    status = None
    try:
        reader.send((f"POST /chaos/{call.deployment}/v1/call/stream HTTP/1.1\r\nhost: chaos\r\n"
                     "accept: application/x-ndjson\r\nconnection: close\r\ncontent-type: application/json\r\n"
                     f"content-length: {len(body)}\r\n\r\n{body}").encode())
        status, headers = reader.head()
        if status != "200":
            return f"{status} {headers.get('x-metagate-error', '-')}", 0
        for piece in reader.pieces(headers):
            content.add(piece)
            if style == "slow":
                time.sleep(draw.random() * 0.02)
            if style in ("leaves", "endless") and time.monotonic() - call.began > leaves_at:
                return content.outcome("left"), content.release
    except Broken:
        return content.outcome("broken" if status is None else "cut"), content.release
    except TimeoutError:
        return "hung", 0
    except ValueError:
        return "garbled", 0
    return content.outcome("200 -" if content.is_whole() else "silent"), content.release


def upload(reader, call, draw):
    """Sends a body in pieces with pauses, and leaves before its end: the function must not run."""
    piece = b" " * (BODY // 10)
    try:
        reader.send((f"POST /chaos/{call.deployment}/v1/call/quick HTTP/1.1\r\nhost: chaos\r\n"
                     "transfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n").encode())
        for _ in range(10):
            reader.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(draw.random() * 0.1)
    except Broken:
        pass
    except TimeoutError:
        return "hung", 0
    return "left", 0


class Content:
    """What has come of a stream: each line has the nonce, the release and its number. A count of -1: without end."""

    def __init__(self, nonce, count):
        self.nonce, self.count, self.rest, self.next, self.release, self.fault = nonce, count, b"", 0, 0, False

    def add(self, piece):
        *lines, self.rest = (self.rest + piece).split(b"\n")
        for line in lines:
            try:
                item = json.loads(line)
                fits = item["nonce"] == self.nonce and item["number"] == self.next
                fits = fits and self.release in (0, item["release"])
                self.release = item["release"]
            except (ValueError, KeyError, TypeError):
                fits = False
            self.fault = self.fault or not fits
            self.next += 1

    def is_whole(self):
        return self.next == self.count and not self.rest

    def outcome(self, otherwise):
        return "garbled" if self.fault else otherwise
