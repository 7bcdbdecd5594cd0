"""The module `metagate` of functions: the request of a call, answers with a status and headers of their own, files,
and lines of the log that carry the id of the request. Its types are in types/metagate.pyi.
"""

import io as _io
import sys as _sys
import threading as _threading
from collections.abc import Mapping as _Mapping
from contextvars import ContextVar as _ContextVar
from time import monotonic as _monotonic

__all__ = ["File", "Headers", "Query", "Request", "Response", "log", "request"]

_JSON, _TEXT, _BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"
_LEVELS = ("debug", "info", "warn", "error")


def request():
    """The request of the call that runs. Threads know it if they run in a copy of the context, as those of
    asyncio.to_thread and loop.run_in_executor do."""
    call = _worker.current_call.get()
    if call is None and _worker.asks_request is False:
        raise RuntimeError("request() has no request: `import metagate` at the top of the script, not in a function")
    if call is None:
        raise RuntimeError("request() works only while a call runs, in its own thread or task")
    made = _made.get()
    if made is None or made._call is not call:
        made = Request(call)
        _made.set(made)
    return made


_made = _ContextVar("metagate_request", default=None)


class Request:
    """What is known of a call besides its arguments."""

    def __init__(self, call):
        self._call = call
        about = call["request"]
        self.id = about.get("id")
        self.method = about.get("method")
        self.path = about.get("path")
        self.query_string = about.get("query") or ""
        self.client = about.get("client")
        self.scheme = about.get("scheme")
        self.host = about.get("host")
        self.base = about.get("base") or ""
        self.context = about.get("context") or {}
        self.deadline = call.get("deadline")  # on the clock of time.monotonic()
        self._query = self._headers = None

    def __repr__(self):
        return f"<Request {self.id}: {self.method} {self.path}>"

    @property
    def query(self):
        if self._query is None:
            self._query = Query(self.query_string)
        return self._query

    @property
    def headers(self):
        if self._headers is None:
            pairs = self._call["request"].get("headers")
            if pairs is None:  # a whole request has them as its second argument
                args = self._call.get("args") or ()
                pairs = args[1] if len(args) > 1 else ()
            self._headers = Headers(pairs)
        return self._headers

    @property
    def remaining(self):
        """Seconds until the deadline, at least 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - _monotonic())

    @property
    def cancelled(self):
        """An event that is set when the caller has left or the time is over."""
        event = self._call.setdefault("event", _threading.Event())
        if self._call.get("cancelled"):
            event.set()
        elif _worker.concurrency == 1:
            _worker.release_lead()  # another thread has to read the message that sets it
        return event


class Query(dict):
    """The parameters of a query: the first value of each name; `getlist` has all."""

    def __init__(self, text):
        from urllib.parse import parse_qsl

        self._all = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._all.setdefault(name, []).append(value)
        super().__init__((name, values[0]) for name, values in self._all.items())

    def getlist(self, name):
        return list(self._all.get(name, ()))


class Headers(_Mapping):
    """Headers by name in any case: the first value of each; `getlist` has all, `raw` the pairs as they came."""

    def __init__(self, pairs):
        self.raw = [(name, value) for name, value in pairs]
        self._all = {}
        for name, value in self.raw:
            self._all.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name):
        return self._all[name.lower()][0]

    def __contains__(self, name):
        return isinstance(name, str) and name.lower() in self._all

    def __iter__(self):
        return iter(self._all)

    def __len__(self):
        return len(self._all)

    def __repr__(self):
        return f"Headers({self.raw!r})"

    def getlist(self, name):
        return list(self._all.get(name.lower(), ()))


class Response:
    """An answer with a status, headers and a body: text, bytes, a dict or list for JSON, or an iterator or asynchronous
    iterator of text or bytes, which is sent as it comes. `headers` is a dict or a list of pairs; a value that is a list
    makes several headers, such as cookies."""

    def __init__(self, body=b"", status=200, headers=None, content_type=None):
        if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"status is {status!r}, not an integer from 200 to 599")
        self.body, self.status, self.content_type = body, int(status), content_type
        self.headers = _pairs(headers)

    def __repr__(self):
        return f"<Response {self.status}>"

    def _split(self):
        """Status and headers for the gateway, and the body."""
        body, default = self.body, _BYTES
        if isinstance(body, str):
            default = _TEXT
        elif isinstance(body, (dict, list, tuple)) or hasattr(type(body), "model_dump"):
            body, default = _worker.render(body), _JSON
        elif not _worker.http().is_whole(body):
            if not any(hasattr(type(body), name) for name in ("__iter__", "__next__", "__aiter__", "__anext__")):
                raise TypeError(f"the body of a Response is a {type(body).__name__}")
            body = _worker.http().iterator(body)
        headers = [[name, value] for name, value in self.headers]
        is_typed = any(name.lower() == "content-type" for name, _ in headers)
        if self.content_type is not None:
            headers = [pair for pair in headers if pair[0].lower() != "content-type"]
            headers.append(["content-type", self.content_type])
        elif not is_typed and (body or not _worker.http().is_whole(body)):
            headers.append(["content-type", default])
        return {"status": self.status, "headers": headers}, body


def _pairs(headers):
    pairs = list(headers.items()) if hasattr(headers, "items") else list(headers or ())
    listed = []
    for name, value in pairs:
        for one in value if isinstance(value, (list, tuple)) else (value,):
            listed.append((_text(name), _text(one)))
    return listed


def _text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class File:
    """A file of a form. A large one is on disk until the call has ended."""

    def __init__(self, content=b"", name="", type=_BYTES):
        self.name, self.type = name, type
        self._bytes, self._path = bytes(content), None
        self.size = len(self._bytes)

    @classmethod
    def _described(cls, about):
        from binascii import a2b_base64

        file = cls(a2b_base64(about.get("base64") or ""), about.get("filename") or "", about.get("type") or _BYTES)
        if "path" in about:
            file._path, file.size = about["path"], about.get("size", 0)
        return file

    def __repr__(self):
        return f"<File {self.name!r}: {self.type}, {self.size} bytes>"

    def open(self):
        """The content as a binary file, to read."""
        return open(self._path, "rb") if self._path else _io.BytesIO(self._bytes)

    def read(self):
        """The content as bytes."""
        if self._path is None:
            return self._bytes
        with self.open() as file:
            return file.read()

    bytes = __bytes__ = read

    def text(self, encoding="utf-8"):
        return self.read().decode(encoding)

    def save(self, path):
        """Writes the content to a file, in pieces."""
        from shutil import copyfileobj

        with self.open() as source, open(path, "wb") as target:
            copyfileobj(source, target, 256 * 1024)


def log(*args, level=None, **fields):
    """Writes a line of JSON to the log, with the id of the request: `log("message", level="warn", count=3)` or
    `log("warn", "message", {"count": 3})`."""
    texts = [arg for arg in args if not isinstance(arg, dict)]
    for arg in args:
        if isinstance(arg, dict):
            fields = {**arg, **fields}
    if not 1 <= len(texts) <= 2:
        raise TypeError("log takes a message, a level and fields")
    if len(texts) == 2:
        level, texts = (texts[0], texts[1:]) if texts[0] in _LEVELS else (texts[1], texts[:1])
    level = "info" if level is None else {"warning": "warn", "critical": "error"}.get(level, level)
    if level not in _LEVELS:
        raise ValueError(f"level is {level!r}, not one of {', '.join(_LEVELS)}")
    line = {"level": level, "message": str(texts[0])}
    call = _worker.current_call.get()
    if call is not None:
        line["request_id"] = call["request"].get("id")
        line.update(_trace_of(request()))
    for name, value in fields.items():
        line.setdefault(str(name), _json_value(value))
    _sys.stdout.write(_worker.render(line) + "\n")


def _trace_of(request):
    """The ids of the trace and the span that a request belongs to."""
    parts = request.headers.get("traceparent", "").split("-")
    is_parent = len(parts) >= 4 and len(parts[1]) == 32 and len(parts[2]) == 16
    return {"trace_id": parts[1], "span_id": parts[2]} if is_parent else {}


def _json_value(value):
    try:
        _worker.render(value)
        return value
    except Exception:
        return repr(value)
