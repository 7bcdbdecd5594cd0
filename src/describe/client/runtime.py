from __future__ import annotations

import base64
import datetime as _datetime
import http.client
import json
import secrets
import select
import ssl
import urllib.parse
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Generator,
    List,
    Literal,
    Mapping,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
    TypedDict,
    TypeVar,
    Union,
)

if TYPE_CHECKING:
    from typing_extensions import NotRequired, TypeAlias

_Self = TypeVar("_Self", bound="_Gateway")
_Answer = Tuple[http.client.HTTPConnection, http.client.HTTPResponse]
_MOST_IDLE = 8


class Omitted:
    """The type of OMITTED, which stands for an argument that is not given."""

    def __repr__(self) -> str:
        return "OMITTED"


OMITTED = Omitted()


class File(NamedTuple):
    """A file of a form."""

    name: str
    content: bytes
    type: str = "application/octet-stream"


class CallError(Exception):
    """An answer that is no result."""

    status: int
    """The status of the answer: 200 where a stream failed after its begin."""
    code: str
    """What has happened, for programs: bad_argument, function_error, ..."""
    message: str
    """What has happened, for people."""
    request_id: Optional[str]
    """The id of the request, by which the gateway's logs find it."""
    argument: Union[str, int, None]
    """The argument that does not fit: its name, or its position from 1."""
    path: Optional[str]
    """The place inside the argument, such as .items[1].price."""
    expected: Optional[str]
    """What fits there."""
    payload: Any
    """What the function attached to its error."""
    retry_after: Optional[int]
    """Seconds after which another call may succeed."""
    body: bytes
    """The body of the answer."""

    def __init__(
        self, status: int, headers: http.client.HTTPMessage, body: bytes
    ) -> None:
        error = _error(body)
        self.status = status
        self.message = str(error.get("message", f"the answer has status {status}"))
        code = error.get("code") or headers.get("x-metagate-error")
        self.code = str(code or "unknown")
        self.request_id = error.get("request_id") or headers.get("x-request-id")
        self.argument = error.get("argument")
        self.path = error.get("path")
        self.expected = error.get("expected")
        self.payload = error.get("payload")
        seconds = headers.get("retry-after") or ""
        self.retry_after = int(seconds) if seconds.isdecimal() else None
        self.body = body
        super().__init__(f"{self.message} ({self.code}, status {status})")


def _error(body: bytes) -> Dict[str, Any]:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


def _plain(value: object) -> object:
    """What stands for a value in JSON: base64 for bytes, ISO 8601 for dates."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (_datetime.date, _datetime.time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, set, frozenset)):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _json(value: object) -> bytes:
    text = json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _quoted(text: str) -> str:
    text = text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    return f'"{text}"'


def _form(values: Mapping[str, object]) -> Tuple[bytes, str]:
    """A form with these fields: files as they are, a[b] for the fields of an object."""
    boundary = secrets.token_hex(16)
    parts: List[bytes] = []

    def add(key: str, value: object) -> None:
        name = _quoted(key)
        head = f"--{boundary}\r\ncontent-disposition: form-data; name={name}"
        if isinstance(value, File):
            kind = value.type.replace("\r", " ").replace("\n", " ")
            head = f"{head}; filename={_quoted(value.name)}\r\ncontent-type: {kind}"
            parts.append(head.encode() + b"\r\n\r\n" + value.content + b"\r\n")
        elif isinstance(value, (bytes, bytearray)):
            add(key, File(key, bytes(value)))
        elif isinstance(value, Mapping):
            for inner, one in value.items():
                add(f"{key}[{inner}]", one)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for one in value:
                add(key, one)
        elif value is not None:
            text = value if isinstance(value, str) else _json(value).decode().strip('"')
            parts.append(f"{head}\r\n\r\n{text}\r\n".encode())

    for key, value in values.items():
        add(key, value)
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _body(
    keys: Optional[Sequence[str]],
    values: Sequence[object],
    rest: Tuple[str, Sequence[object]],
    named: Optional[Mapping[str, object]],
    form: bool,
) -> Tuple[bytes, str]:
    """The body of a call: arguments in order, or by name where the order has gaps."""
    given = list(values)
    while given and not rest[1] and given[-1] is OMITTED:
        given.pop()
    has_gap = any(value is OMITTED for value in given)
    if named is None and not form and (keys is None or not has_gap):
        in_order = [None if value is OMITTED else value for value in given]
        return _json([*in_order, *rest[1]]), "application/json"
    by_name = dict(zip(keys or [], given))
    if rest[1]:
        by_name[rest[0]] = rest[1]
    by_name.update(named or {})
    by_name = {key: value for key, value in by_name.items() if value is not OMITTED}
    return _form(by_name) if form else (_json(by_name), "application/json")


class _Gateway:
    """Calls functions. Connections are kept for further calls; threads may share it."""

    def __init__(
        self,
        url: str,
        *,
        headers: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        context: Optional[ssl.SSLContext] = None,
    ) -> None:
        """A client of the gateway at this address.

        :param url: the address of the gateway, such as https://functions.example.com
        :param headers: headers of every request, such as authorization
        :param timeout: seconds that the gateway may be silent
        :param context: how TLS checks the gateway
        """
        self._url = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ValueError(f"{url!r} is no address of http or https")
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._context = context
        self._idle: List[http.client.HTTPConnection] = []

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are kept. The client can still be used."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> http.client.HTTPConnection:
        while self._idle:
            try:
                kept = self._idle.pop()
            except IndexError:
                break
            try:
                # What can be read without a request is the end of the connection.
                sock = kept.sock
                if sock is not None and not select.select([sock], [], [], 0)[0]:
                    return kept
            except (OSError, ValueError):
                pass
            kept.close()
        host, port, timeout = self._url.hostname or "", self._url.port, self._timeout
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(
            host, port, timeout=timeout, context=self._context
        )

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is not None and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _send(self, address: str, body: Tuple[bytes, str], accept: str) -> _Answer:
        content, kind = body
        headers = {**self._headers, "accept": accept, "content-type": kind}
        path = self._url.path.rstrip("/") + _BASE + address
        connection = self._connection()
        try:
            connection.request("POST", path, content, headers)
            response = connection.getresponse()
            if 200 <= response.status < 300:
                return connection, response
            text = response.read()
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        raise CallError(response.status, response.headers, text)

    def _call(
        self,
        address: str,
        keys: Optional[Sequence[str]],
        values: Sequence[object],
        *,
        rest: Tuple[str, Sequence[object]] = ("", ()),
        named: Optional[Mapping[str, object]] = None,
        form: bool = False,
    ) -> Any:
        """The result of a call: of JSON, text, bytes, or None."""
        body = _body(keys, values, rest, named, form)
        connection, response = self._send(address, body, "application/json")
        return self._read(connection, response)

    def _read(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> Any:
        try:
            content = response.read()
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        kind = response.headers.get_content_type()
        if kind == "application/json" or kind.endswith("+json"):
            return json.loads(content) if content else None
        if response.headers.get("content-type", "").startswith("text/"):
            return content.decode(errors="replace")
        return content or None

    def _stream(
        self,
        address: str,
        keys: Optional[Sequence[str]],
        values: Sequence[object],
        *,
        rest: Tuple[str, Sequence[object]] = ("", ()),
        named: Optional[Mapping[str, object]] = None,
        form: bool = False,
    ) -> Generator[Any, None, None]:
        """The items of a stream as they come."""
        body = _body(keys, values, rest, named, form)
        connection, response = self._send(address, body, "text/event-stream")
        if response.headers.get_content_type() != "text/event-stream":
            whole = self._read(connection, response)
            yield from whole if isinstance(whole, list) else [whole]
            return
        has_ended, is_error = False, False
        try:
            while not has_ended:
                line = response.readline()
                has_ended = not line
                line = line.rstrip(b"\r\n")
                if line == b"event: error":
                    is_error = True
                elif line.startswith(b"data: "):
                    data = line[len(b"data: ") :]
                    if is_error:
                        raise CallError(response.status, response.headers, data)
                    yield json.loads(data)
            self._keep(connection)
        finally:
            if not has_ended:
                connection.close()
