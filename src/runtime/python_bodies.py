"""The body of a request that arrives piece by piece, for applications: BodyData, BodyEnd and BodyError of the gateway,
BodyCredit to it. One thread or one task reads it."""

import io
import threading
from collections import deque

SPOOLED = 1024 * 1024  # bytes of a body that are kept in memory
CREDIT_STEP = 16 * 1024  # bytes that are read before the gateway gets credit for them


class BodyFailed(OSError):
    """The rest of the body will not come."""


class Body:
    def __init__(self, call_id):
        self.call_id = call_id
        self.chunks = deque()  # bytes; at last b"" or an error
        self.lock = threading.Lock()
        self.wake = None  # called once when a chunk comes
        self.owed = 0  # bytes that were read and for which no credit was given yet

    def receive(self, kind, data):
        if kind == "BodyData":
            chunk = worker.http().bytes_of(data, "text")
            if chunk:
                self.put(chunk)
        elif kind == "BodyEnd":
            self.put(b"")
        else:
            self.fail(str(data.get("message", "the body has ended early")))

    def fail(self, message):
        self.put(BodyFailed(message))

    def put(self, chunk):
        with self.lock:
            self.chunks.append(chunk)
            wake, self.wake = self.wake, None
        if wake:
            wake()

    def take(self, wake):
        """The next chunk, b"" at the end; None if there is none yet: then `wake` is called when there is."""
        with self.lock:
            if not self.chunks:
                self.wake = wake
                return None
            chunk = self.chunks[0]
            if type(chunk) is bytes and chunk:
                self.chunks.popleft()
        if type(chunk) is not bytes:
            raise chunk
        self.owed += len(chunk)
        if self.owed >= CREDIT_STEP:
            worker.write(worker.message_line("BodyCredit", {"id": self.call_id, "bytes": self.owed}))
            self.owed = 0
        return chunk

    def read(self):
        """Waits for the next chunk on a thread."""
        while True:
            ready = threading.Lock()
            ready.acquire()
            chunk = self.take(ready.release)
            if chunk is not None:
                return chunk
            worker.release_lead()
            ready.acquire()

    async def receive_chunk(self):
        """Waits for the next chunk in a task."""
        while True:
            ready = worker.loop.create_future()
            chunk = self.take(lambda ready=ready: worker.loop.call_soon_threadsafe(settle, ready))
            if chunk is not None:
                return chunk
            await ready


def settle(future):
    if not future.done():
        future.set_result(None)


class Reader(io.RawIOBase):
    """A body as a file."""

    def __init__(self, body):
        self.body, self.rest = body, b""

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.rest:
            self.rest = self.body.read()
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


def open_body(call_id, request, headers):
    """The body of a request as a file, and its length; None if the headers say it. One of unknown length is read first,
    to disk if it is large: Django and others read as many bytes as CONTENT_LENGTH says."""
    body = worker.http().bodies.get(call_id)
    if not body:
        whole = worker.http().bytes_of(request, "body")
        return io.BytesIO(whole), len(whole)
    file = io.BufferedReader(Reader(body), 64 * 1024)
    if any(name == "content-length" for name, _ in headers):
        return file, None
    import shutil
    import tempfile

    whole = tempfile.SpooledTemporaryFile(SPOOLED)
    shutil.copyfileobj(file, whole)
    length = whole.tell()
    whole.seek(0)
    return whole, length
