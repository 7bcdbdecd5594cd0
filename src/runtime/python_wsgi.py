"""Serves applications of WSGI (Flask, Django, Bottle, plain callables) where plain functions run.
Specification: PEP 3333.
"""

import sys
from urllib.parse import unquote_to_bytes

WHOLE = 64 * 1024  # bytes of an answer that is one message


class Runner:
    is_async = False
    http_takes = "stream"  # `http` in the metadata

    def __init__(self, app):
        self.app = app

    def http(self, request, headers):
        call = worker.current_call.get()
        return Exchange(call).run(self.app, environ_of(call, request, headers))


def environ_of(call, request, headers):
    about = call["request"]
    path, _, query = request["uri"].partition("?")
    host, _, port = (about.get("host") or "localhost").rpartition(":")
    if not host or not port.isdigit():
        host, port = about.get("host") or "localhost", "443" if about.get("scheme") == "https" else "80"
    body, length = worker.own_module("python_bodies").open_body(call["id"], request, headers)
    environ = {
        "REQUEST_METHOD": request["method"],
        "SCRIPT_NAME": wsgi_text(about.get("base") or ""),
        "PATH_INFO": wsgi_text(path),
        "QUERY_STRING": query,
        "REQUEST_URI": (about.get("base") or "") + request["uri"],
        "RAW_URI": (about.get("base") or "") + request["uri"],
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "metagate",
        "REMOTE_ADDR": about.get("client") or "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": about.get("scheme") or "http",
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": worker.concurrency > 1 and not worker.needs_main_thread,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    add_headers(environ, headers)
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    return environ


def add_headers(environ, headers):
    for name, value in headers:
        if "_" in name:  # could pass for another header
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key in environ:
            value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        environ[key] = value


def wsgi_text(path):
    """The bytes of a path, as WSGI has them in text."""
    return unquote_to_bytes(path).decode("latin-1")


class Exchange:
    """One request and its answer."""

    def __init__(self, call):
        self.call_id, self.context = call["id"], call.pop("context")
        self.head = None
        self.stream = None

    def run(self, app, environ):
        """The answer: whole, or a stream."""
        body = None
        try:
            body = app(environ, self.start_response)
            answer = self.answer(body)
        except BaseException as error:
            close(body)
            if self.stream:  # the application has used write(): the answer has begun
                self.stream.close = None
                self.stream.finish(error)
                return worker.own_module("python_streams").Answered()
            raise
        if answer is not self.stream:
            close(body)
        return answer

    def start_response(self, status, headers, exc_info=None):
        if exc_info:
            try:
                if self.stream:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.head:
            raise AssertionError("start_response was called before")
        self.head = {"status": int(status.split(None, 1)[0]), "headers": [list(pair) for pair in headers]}
        return self.write

    def write(self, data):
        if not self.stream:
            self.open()
        self.stream.send(data)
        if self.stream.is_cancelled:
            raise ConnectionResetError("the caller has left")

    def open(self):
        steps = worker.own_module("python_streams").Steps
        self.stream = steps(self.call_id, self.context, None, self.started())
        self.stream.open()

    def answer(self, body):
        """The whole answer if it is short and known at once, else a stream."""
        chunks = iter(body)
        if not self.stream and (isinstance(body, (list, tuple)) or getattr(body, "streaming", True) is False):
            data = b"".join(chunks)
            if len(data) <= WHOLE:
                return whole_answer(self.started(), data)
            chunks = iter((data,))
        first = next((chunk for chunk in chunks if chunk), b"")
        head = self.started()
        if not self.stream:
            declared = next((value for name, value in head["headers"] if name.lower() == "content-length"), None)
            if not first or len(first) <= WHOLE and declared == str(len(first)):
                return whole_answer(head, first)
            self.open()
        from itertools import chain

        self.stream.iterator, self.stream.close = chain((first,) if first else (), chunks), lambda: close(body)
        return self.stream

    def started(self):
        if self.head is None:
            raise AssertionError("the application has not called start_response")
        return self.head


def whole_answer(head, data):
    return worker.own_module("python_streams").Whole(head, data)


def close(body):
    if hasattr(body, "close"):
        body.close()
