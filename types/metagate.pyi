"""The module `metagate` of functions that metagate runs with Python. There is nothing to install: the worker has it."""

import threading
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, BinaryIO, Literal, overload

_Bytes = bytes
Level = Literal["debug", "info", "warn", "error"]

def request() -> Request:
    """The request of the call that runs.

    Threads know it if they run in a copy of the context, as those of asyncio.to_thread and loop.run_in_executor do.
    Raises RuntimeError outside of a call.
    """

class Request:
    """What is known of a call besides its arguments."""

    id: str
    method: str
    path: str
    query_string: str
    client: str | None
    """The caller's address."""
    scheme: str
    host: str | None
    base: str
    """The part of the path that belongs to the gateway."""
    context: dict[str, Any]
    """What plugins have shared for functions, such as the caller's identity."""
    deadline: float | None
    """When the time of the call is over, on the clock of time.monotonic()."""
    @property
    def query(self) -> Query: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline."""
    @property
    def cancelled(self) -> threading.Event:
        """An event that is set when the caller has left or the time is over."""

class Query(dict[str, str]):
    """The parameters of a query: the first value of each name."""

    def getlist(self, name: str) -> list[str]:
        """All values of a name."""

class Headers(Mapping[str, str]):
    """Headers by name in any case: the first value of each name."""

    raw: list[tuple[str, str]]
    def __getitem__(self, name: str) -> str: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def getlist(self, name: str) -> list[str]:
        """All values of a name."""

class Response:
    """An answer with a status, headers and a body.

    The body is text, bytes, a dict or list for JSON, or an iterator or asynchronous iterator of text or bytes, which is
    sent as it comes.
    """

    body: Any
    status: int
    headers: list[tuple[str, str]]
    content_type: str | None
    def __init__(
        self,
        body: (
            str | bytes | bytearray | memoryview | dict[str, Any] | list[Any] | tuple[Any, ...]
            | Iterable[str | bytes] | AsyncIterable[str | bytes] | None
        ) = b"",
        status: int = 200,
        headers: Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
    ) -> None: ...

class File:
    """A file of a form. A large one is on disk until the call has ended."""

    name: str
    type: str
    size: int
    def __init__(self, content: _Bytes = b"", name: str = "", type: str = "application/octet-stream") -> None: ...
    def read(self) -> _Bytes: ...
    def bytes(self) -> _Bytes: ...
    def __bytes__(self) -> _Bytes: ...
    def text(self, encoding: str = "utf-8") -> str: ...
    def open(self) -> BinaryIO: ...
    def save(self, path: str | PathLike[str]) -> None: ...

@overload
def log(message: str, /, *, level: Level = "info", **fields: Any) -> None: ...
@overload
def log(message: str, fields: Mapping[str, Any], /, *, level: Level = "info") -> None: ...
@overload
def log(message: str, level: Level, /, **fields: Any) -> None: ...
@overload
def log(level: Level, message: str, fields: Mapping[str, Any] = ..., /) -> None:
    """Writes a line of JSON to the log, with the id of the request."""
