"""Answers that are sent piece by piece, as far as the gateway gives credit: the items of generators and other
iterators, and the bytes of bodies. python.py's module `python_http` imports it at the first one.

    worker → gateway   StreamStart   {"id"} of items, {"id","response":{"status","headers"}} of bytes
                       StreamItem    {"id","item"}, or parts of an item's JSON: {"id","part"}, the last with "last":true
                       StreamData    {"id","text"} or {"id","base64"}
                       StreamEnd     {"id"}; or FunctionInvokeError
    gateway → worker   StreamCredit  {"id","bytes"}
                       CancelCall    {"id"}: the iterator is closed

`send_all` runs in a task of the event loop. An iterator that is not asynchronous advances by `Steps`, each of which is
a job of a thread that runs plain functions: while it waits for credit it occupies none.
"""

import threading
from _json import encode_basestring as quote
from _queue import SimpleQueue
from time import monotonic, sleep

START_CREDIT = 1024  # bytes that may be sent before the first StreamCredit
PIECE = 64 * 1024  # bytes of one message of a body, or of a part of an item


class Answered:
    """The result of a function that has answered its call itself."""

    def go_on(self):
        """Does what is left to do when the function has returned."""


class Whole:
    """A whole answer of an application."""

    def __init__(self, response, body):
        self.response, self.body = response, body

    def _split(self):
        return self.response, self.body


class Items:
    """Makes messages of the items of a stream."""

    def __init__(self, call_id):
        self.id = quote(call_id)
        self.rest = b""  # of an item's JSON that had no credit
        self.is_part = False

    def put(self, item):
        self.rest = worker.render(item).encode("utf-8", "backslashreplace")

    def take(self, credit):
        """The next message and its size; no message if the credit is too small for a part."""
        rest = self.rest
        if len(rest) <= credit and not self.is_part and len(rest) * 2 < worker.max_message:
            self.rest = b""
            text = rest.decode()
            return f'{{"type":"StreamItem","data":{{"id":{self.id},"item":{text}}}}}\n', len(rest)
        end = min(len(rest), credit, PIECE, max(4, (worker.max_message - 200) // 2))
        while 0 < end < len(rest) and rest[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        if end == 0:
            return None, 0
        last = ',"last":true' if end == len(rest) else ""
        text = quote(rest[:end].decode())
        self.rest, self.is_part = rest[end:], not last
        return f'{{"type":"StreamItem","data":{{"id":{self.id},"part":{text}{last}}}}}\n', end


class Bytes:
    """Makes messages of the chunks of a body."""

    def __init__(self, call_id):
        self.id = quote(call_id)
        self.rest = b""

    def put(self, chunk):
        if isinstance(chunk, str):
            chunk = chunk.encode()
        elif not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise TypeError(f"a chunk of a body is a {type(chunk).__name__}, neither bytes nor str")
        self.rest = memoryview(bytes(chunk))

    def take(self, credit):
        piece = bytes(self.rest[: min(credit, PIECE)])
        self.rest = self.rest[len(piece) :]
        ((name, text),) = worker.http().text_or_base64(piece, "text").items()
        return f'{{"type":"StreamData","data":{{"id":{self.id},"{name}":{quote(text)}}}}}\n', len(piece)


def messages_of(call_id, response):
    return Items(call_id) if response is None else Bytes(call_id)


def start_line(call_id, response):
    data = {"id": call_id} if response is None else {"id": call_id, "response": response}
    return worker.message_line("StreamStart", data)


def end_line(call_id, error=None):
    return worker.message_line("StreamEnd", {"id": call_id}) if error is None else worker.error_line(call_id, error)


# ---- On the event loop -----------------------------------------------------------------------------------------------


class Output:
    """The sending end of a stream, for a task of the event loop."""

    __slots__ = ("call_id", "messages", "credit", "waiter", "task", "is_cancelled", "on_cancel")

    def __init__(self, call_id, response, on_cancel=None):
        self.call_id, self.messages, self.credit = call_id, messages_of(call_id, response), START_CREDIT
        self.waiter, self.task, self.is_cancelled = None, None, False
        self.on_cancel = on_cancel  # called instead of a cancellation of the task

    def add_credit(self, count):
        worker.loop.call_soon_threadsafe(self.grant, count)

    def cancel(self):
        worker.loop.call_soon_threadsafe(self.stop)

    def grant(self, count):
        self.credit += count
        self.wake()

    def wake(self):
        if self.waiter and not self.waiter.done():
            self.waiter.set_result(None)

    def stop(self):
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if self.on_cancel:
            self.on_cancel()
            self.wake()
        elif self.task:
            self.task.cancel()

    async def more_credit(self):
        self.waiter = worker.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    async def send(self, value):
        """Sends an item or a chunk; waits for credit as long as it takes. Cancelled, it sends nothing."""
        self.messages.put(value)
        while self.messages.rest and not self.is_cancelled:
            line, size = self.messages.take(self.credit) if self.credit > 0 else (None, 0)
            if line:
                self.credit -= size
                worker.write_answers(line)
            else:
                await self.more_credit()


async def send_all(call_id, iterator, response):
    """Sends what an asynchronous iterator gives, and closes it."""
    from asyncio import CancelledError, current_task

    error, output = None, Output(call_id, response)
    output.task = current_task()
    worker.http().streams[call_id] = output
    if worker.http().is_cancelled(call_id):
        output.stop()
    worker.write_answers(start_line(call_id, response))
    try:
        take = iterator.__anext__
        while not output.is_cancelled:
            if output.credit <= 0:
                await output.more_credit()
                continue
            await output.send(await take())
    except StopAsyncIteration:
        pass
    except CancelledError as cancelled:
        error = None if output.is_cancelled else cancelled
    except BaseException as raised:
        error = raised
    try:
        if hasattr(iterator, "aclose"):
            await iterator.aclose()
    except BaseException as raised:
        error = error or raised
    worker.http().forget(call_id)
    worker.write_answers(end_line(call_id, error))
    return Answered()


# ---- On threads ------------------------------------------------------------------------------------------------------

DONE = object()


class Pool:
    """Threads for steps. Usually one serves all streams, because threads that compute only slow each other down. Others
    are added while steps wait and all threads are within code of functions that takes long: it may block."""

    LONG = 0.004  # seconds in a function's code after which other threads are added, each time twice as many

    def __init__(self):
        self.jobs = SimpleQueue()
        self.lock = threading.Lock()
        self.threads = self.waiting = 0
        self.is_watched = False
        self.inside = {}  # since when a thread runs code of a function

    def submit(self, job):
        self.jobs.put(job)
        with self.lock:
            if self.waiting >= self.jobs.qsize() or self.is_watched:
                return
            if self.threads:
                self.is_watched = True
                return self.start_thread(self.watch)
        self.add()

    def add(self):
        with self.lock:
            if self.threads >= worker.concurrency and self.threads:
                return
            self.threads += 1
        self.start_thread(self.run)

    @staticmethod
    def start_thread(function):
        try:
            threading.Thread(target=function, name="metagate-steps", daemon=True).start()
        except RuntimeError:  # the system's limit of threads: those that run must do
            pass

    def run(self):
        while True:
            with self.lock:
                self.waiting += 1
            job = self.jobs.get()
            with self.lock:
                self.waiting -= 1
            job()
            job = None

    def watch(self):
        more = 1
        while True:
            sleep(self.LONG)
            since = monotonic() - self.LONG
            blocked = sum(start < since for start in list(self.inside.values()))
            with self.lock:
                if self.jobs.empty():
                    self.is_watched = False
                    return
                is_stuck = blocked >= self.threads - self.waiting
            for _ in range(min(more, self.jobs.qsize()) if is_stuck else 0):
                self.add()
            more = more * 2 if is_stuck else 1

    def enter(self, function, *args):
        """Runs code of a function on a thread of the pool."""
        thread = threading.get_ident()
        self.inside[thread] = monotonic()
        try:
            return function(*args)
        finally:
            del self.inside[thread]


pool = Pool()

class Steps:
    """A stream of an iterator that is not asynchronous."""

    def __init__(self, call_id, context, iterator, response, close=None):
        self.call_id, self.context, self.iterator, self.response = call_id, context, iterator, response
        self.messages, self.credit = messages_of(call_id, response), START_CREDIT
        self.lock = threading.Lock()
        self.is_running, self.is_cancelled = True, False  # running: a thread takes steps, or is about to
        self.close = close or getattr(iterator, "close", None)
        self.at_end = None
        self.waiting = None  # a lock that the thread of `send` waits for

    def start(self):
        self.open()
        self.go_on()

    def go_on(self):
        """Begins the steps of an open stream, when the function that has opened it has left the context."""
        if worker.concurrency == 1:
            worker.release_lead()  # from now on this thread, the main one, takes the steps
        self.run_later()

    def run_later(self):
        worker.main_jobs.put(self.run) if worker.needs_main_thread else pool.submit(self.run)

    def open(self):
        self.is_cancelled = worker.http().is_cancelled(self.call_id)
        worker.http().streams[self.call_id] = self

    def write_start(self):
        """Writes the start of the stream, once. The thread that reads the channel does not: it has others to serve."""
        response, self.response = self.response, DONE
        if response is not DONE:
            worker.write_answers(start_line(self.call_id, response))

    async def run_to_end(self):
        done = worker.loop.create_future()
        self.at_end = lambda: worker.loop.call_soon_threadsafe(done.set_result, None)
        self.start()
        await done

    def add_credit(self, count):
        self.change(count, False)

    def cancel(self):
        self.change(0, True)

    def change(self, count, is_cancelled):
        with self.lock:
            self.credit += count
            self.is_cancelled = self.is_cancelled or is_cancelled
            waiting, self.waiting = self.waiting, None
            if self.is_running:
                return waiting and waiting.release()
            self.is_running = True
        self.run_later()

    def run(self):
        """Takes steps until credit has run out."""
        error, is_small = None, False
        try:
            self.write_start()
            while True:
                with self.lock:
                    if not self.is_cancelled and (self.credit <= 0 or is_small):
                        self.is_running = False
                        return
                if self.is_cancelled:
                    break
                if not self.messages.rest:
                    item = pool.enter(self.context.run, next, self.iterator, DONE)
                    if item is DONE:
                        break
                    self.messages.put(item)
                is_small = not self.send_piece()
                if worker.needs_main_thread and not worker.main_jobs.empty():
                    return self.run_later()
        except BaseException as raised:
            error = raised
        self.finish(error)

    def send_piece(self):
        """Sends what the credit allows of the item. Returns whether it allowed something."""
        with self.lock:
            credit = self.credit
        if not self.messages.rest:
            return True
        line, size = self.messages.take(credit)
        if not line:
            return False
        with self.lock:
            self.credit -= size
        worker.write_answers(line)
        return True

    def send(self, value):
        """Sends a chunk from the thread of the call itself, before the steps: it waits for credit."""
        self.write_start()
        self.messages.put(value)
        while self.messages.rest and not self.is_cancelled:
            if self.credit > 0 and self.send_piece():
                continue
            waiting = threading.Lock()
            waiting.acquire()
            with self.lock:
                if self.credit > 0 or self.is_cancelled:
                    continue
                self.waiting = waiting
            worker.release_lead()
            waiting.acquire()

    def finish(self, error):
        try:
            if self.close:
                pool.enter(self.context.run, self.close)
        except BaseException as raised:
            error = error or raised
        worker.http().forget(self.call_id)
        worker.write_answers(end_line(self.call_id, error))
        worker.tasks.pop(self, None)
        if self.at_end:
            self.at_end()
