"""Serves applications of ASGI 3 (FastAPI, Starlette, Django, Quart): requests on the event loop, and the lifespan.
Specification: https://asgi.readthedocs.io/en/stable/specs/www.html
"""

import asyncio
import sys
from urllib.parse import unquote

VERSIONS = {"version": "3.0", "spec_version": "2.3"}  # 2.3: an application learns of a disconnect by `receive`
WHOLE = 64 * 1024  # bytes of an answer that is one message
SHUTDOWN = 0.9  # seconds for the end of the lifespan


class Runner:
    is_async = True
    http_takes = "stream"  # `http` in the metadata

    def __init__(self, app):
        self.app = app
        self.state = {}

    async def http(self, request, headers):
        call = worker.current_call.get()
        await Exchange(call["id"], request).run(self.app, scope_of(call["request"], request, headers, self.state))
        return answered()

    def start(self):
        """Runs the application's startup; a failure is one of the load."""
        worker.start_loop()
        lifespan = Lifespan(self.app, self.state)
        if worker.loop_is_on_main_thread():
            worker.loop.run_until_complete(lifespan.start())
        else:
            asyncio.run_coroutine_threadsafe(lifespan.start(), worker.loop).result()
        if lifespan.is_supported:
            worker.http().at_end.append(lifespan.end)


class Lifespan:
    def __init__(self, app, state):
        self.app, self.state = app, state
        self.is_supported = True

    async def start(self):
        self.inbox = asyncio.Queue()
        self.started, self.stopped = worker.loop.create_future(), worker.loop.create_future()
        self.inbox.put_nowait({"type": "lifespan.startup"})
        self.task = worker.loop.create_task(self.run())
        await self.started

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.inbox.get, self.send)
        except BaseException as error:
            if self.started.done() and not self.started.exception():
                report("in the application's lifespan", error)
        self.is_supported = self.started.done()
        for future in (self.started, self.stopped):
            if not future.done():
                future.set_result(None)  # an application without a lifespan

    async def send(self, message):
        kind, text = message["type"], message.get("message") or "no reason given"
        if kind == "lifespan.startup.complete":
            self.started.set_result(None)
        elif kind == "lifespan.startup.failed":
            self.started.set_exception(RuntimeError(f"the application's startup failed: {text}"))
        elif not self.stopped.done():
            if kind == "lifespan.shutdown.failed":
                sys.stderr.write(f"metagate: the application's shutdown failed: {text}\n")
            self.stopped.set_result(None)

    def end(self):
        """Runs the shutdown when the calls have ended. The worker waits for the task."""
        worker.tasks[self] = None
        asyncio.run_coroutine_threadsafe(self.shut_down(), worker.loop)

    async def shut_down(self):
        try:
            while len(worker.tasks) > 1:
                await asyncio.sleep(0.005)
            self.inbox.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait_for(self.stopped, SHUTDOWN)
        finally:
            del worker.tasks[self]


def scope_of(about, request, headers, state):
    path, _, query = request["uri"].partition("?")
    base = about.get("base") or ""
    return {
        "type": "http",
        "asgi": VERSIONS,
        "http_version": "1.1",
        "method": request["method"],
        "scheme": about.get("scheme") or "http",
        "path": unquote(base + path),
        "raw_path": (base + path).encode(),
        "root_path": unquote(base),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers],
        "client": (about["client"], 0) if about.get("client") else None,
        "server": server_of(about.get("host"), about.get("scheme")),
        "state": state.copy(),
    }


def server_of(host, scheme):
    if not host:
        return None
    name, _, port = host.rpartition(":")
    if port.isdigit() and name:
        return name.strip("[]"), int(port)
    return host.strip("[]"), 443 if scheme == "https" else 80


def answered():
    return worker.own_module("python_streams").Answered()


def report(where, error):
    sys.stderr.write(f"metagate: {where}: {worker.describe_error(error)['stack']}\n")


async def respond(call_id, response):
    """Sends a response of Starlette's that a function has returned."""
    call = worker.current_call.get()
    about = call["request"] if call else {}
    uri = (about.get("path") or "/") + (f"?{about['query']}" if about.get("query") else "")
    request = {"method": about.get("method") or "GET", "uri": uri}
    scope = scope_of({**about, "base": ""}, request, about.get("headers") or (), {})
    await Exchange(call_id, request).run(response, scope)
    return answered()


class Exchange:
    """One request and its answer."""

    def __init__(self, call_id, request):
        self.call_id, self.request = call_id, request
        self.body = worker.http().bodies.get(call_id)
        self.is_read = False  # the body has come whole
        self.head = None  # status and headers of the answer
        self.is_answered = False
        self.left = None  # a future: the caller has left, or the answer is complete
        streams = worker.own_module("python_streams")
        self.output = streams.Output(call_id, {}, on_cancel=self.disconnect)
        self.is_streaming = False
        worker.http().streams[call_id] = self.output

    async def run(self, app, scope):
        if worker.http().is_cancelled(self.call_id):
            self.output.stop()
        try:
            await app(scope, self.receive, self.send)
            if not self.is_answered:
                raise RuntimeError("the application has ended without a complete answer")
        except BaseException as error:
            if not self.is_answered:
                self.is_answered = True
                ended = self.is_streaming and self.output.is_cancelled
                streams = worker.own_module("python_streams")
                worker.write_soon(streams.end_line(self.call_id, None if ended else error))
            elif not self.output.is_cancelled and not isinstance(error, asyncio.CancelledError):
                report(f"application {type(app).__name__}", error)
        finally:
            worker.http().forget(self.call_id)

    def disconnect(self):
        if self.left and not self.left.done():
            self.left.set_result(None)

    async def receive(self):
        if not self.is_read and not self.output.is_cancelled:
            if self.body is None:
                self.is_read = True
                body = worker.http().bytes_of(self.request, "body")
                return {"type": "http.request", "body": body, "more_body": False}
            try:
                chunk = await self.body.receive_chunk()
                self.is_read = not chunk
                return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}
            except OSError:
                self.is_read = True
                return {"type": "http.disconnect"}
        if not self.output.is_cancelled and not self.is_answered:
            if self.left is None:
                self.left = worker.loop.create_future()
            await asyncio.shield(self.left)
        return {"type": "http.disconnect"}

    async def send(self, message):
        kind = message["type"]
        if kind == "http.response.start":
            if self.head is not None:
                raise RuntimeError("the application has sent http.response.start before")
            headers = [[text_of(name), text_of(value)] for name, value in message.get("headers", ())]
            self.head = {"status": message["status"], "headers": headers}
        elif kind == "http.response.body":
            if self.head is None:
                raise RuntimeError("the application has not sent http.response.start")
            if not self.is_answered:
                await self.send_body(bytes(message.get("body", b"")), message.get("more_body", False))

    async def send_body(self, body, is_more):
        if self.output.is_cancelled:
            if is_more:
                raise Disconnected("the caller has left")
            return self.complete(worker.message_line("StreamEnd", {"id": self.call_id}))
        if not self.is_streaming:
            if len(body) <= WHOLE and (not is_more or self.declares(len(body))):
                return self.complete(worker.http().response_line(self.call_id, self.head, body))
            self.is_streaming = True
            worker.write_answers(worker.own_module("python_streams").start_line(self.call_id, self.head))
        if body:
            await self.output.send(body)
        if self.output.is_cancelled and is_more:
            raise Disconnected("the caller has left")
        if not is_more:
            self.complete(worker.message_line("StreamEnd", {"id": self.call_id}))

    def declares(self, length):
        """Whether the headers say that a body of this length is all of it."""
        declared = next((value for name, value in self.head["headers"] if name.lower() == "content-length"), None)
        return length > 0 and declared == str(length)

    def complete(self, line):
        self.is_answered = True
        worker.http().forget(self.call_id)
        worker.write_soon(line)
        self.disconnect()


class Disconnected(OSError):
    """The caller has left."""


def text_of(value):
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value
