"""Uses the client of the deployment of tests/fixtures/clients-python. mypy checks it, and what is ignored must be an
error.
"""

import datetime
import socket
import sys
from typing import Callable, Generator, List

from shapes import CallError, Client, Event, File, Point, Tree


def failure(call: Callable[[], object]) -> CallError:
    try:
        call()
    except CallError as error:
        return error
    raise AssertionError("no CallError")


def results(client: Client) -> None:
    tree: Tree = {"label": "a", "below": [{"label": "b"}, {"label": "c", "below": []}]}
    count: int = client.count(tree)
    assert count == 3
    grown: Tree = client.grow({"label": "a"})
    assert grown["below"][0]["label"] == "a"
    assert client.join(["a", "b"]) == "a b"
    assert client.join(("a", "b"), "-") == "a-b"
    assert client.join(["a", "b"], end="!") == "a b!"
    assert client.repeat("ab", 2) == "abab"
    assert client.repeat("ab", upper=True) == "AB"
    assert client.repeat(text="ab", times=3, upper=False) == "ababab"
    assert client.total(1) == 1
    assert client.total(1, 2, 3) == 6
    assert client.total(10**30, 1) == 10**30 + 1
    assert client.settings(self=1, other=2) == {"self": 1, "other": 2}
    event: Event = {"name": "fair", "day": datetime.date(1999, 12, 31), "data": b"\x00\xff"}
    assert client.happen(event) == "fair 1999 2"
    assert client.after(datetime.datetime(2001, 2, 3, 4, 5), "x") == "2001 'x'"
    assert client.after("2001-02-03T04:05:06") is None
    assert client.after("2001-02-03T04:05:06", 7) == "2001 7"
    corner: Point = client.corner({"x": 1, "y": 2.5})
    assert corner == {"x": 2, "y": 3.5}
    assert client.pair((1, "a")) == ["a", 1]
    numbers: List[int] = client.list(3)
    assert numbers == [0, 1, 2]
    sent = client.upload("me", File("me.png", b"12345", "image/png"))
    assert sent == "me me.png image/png 5"
    assert client.caller() == "tests"


def errors(client: Client, url: str) -> None:
    found = failure(lambda: client.find("ink"))
    assert (found.status, found.code, found.message) == (404, "function_error", "there is no ink")
    assert found.request_id
    wrong = failure(lambda: client.total("x"))  # type: ignore[arg-type]
    assert (wrong.status, wrong.code, wrong.argument) == (422, "bad_argument", "first")
    with Client(f"{url}/nowhere/") as nowhere:
        assert failure(nowhere.break_off().__next__).code == "not_found"
    try:
        client.corner({"x": float("nan"), "y": 0})
        raise AssertionError("NaN was sent")
    except ValueError:
        pass


def streams(client: Client) -> None:
    points: Generator[Point, None, None] = client.count_to(3)
    assert [point["x"] for point in points] == [1, 2, 3]
    # The rest of a long stream is not read.
    long = client.count_to(10**9)
    assert next(long)["x"] == 1
    long.close()
    before: List[int] = []
    try:
        for item in client.break_off():
            before.append(item)
        raise AssertionError("the stream has ended")
    except CallError as error:
        assert (before, error.code, error.message) == ([1, 2, 3], "function_error", "ValueError: no more")


def limits(url: str) -> None:
    slow = Client(url, timeout=0.001)
    try:
        for _ in range(100):
            slow.list(10**5)
        raise AssertionError("no call timed out")
    except socket.timeout:
        pass
    try:
        Client("ftp://localhost")
        raise AssertionError("an address of FTP")
    except ValueError:
        pass


def mistakes(client: Client) -> None:
    """Never called: each of these calls is a mistake that mypy finds."""
    client.count()  # type: ignore[call-arg]
    client.count({"name": "a"})  # type: ignore[typeddict-item]
    client.join([1])  # type: ignore[list-item]
    client.repeat("a", 4)  # type: ignore[arg-type]
    client.repeat("a", 1, True)  # type: ignore[call-arg]
    client.total(1, "2")  # type: ignore[arg-type]
    client.happen({"name": "a", "day": 1, "data": b""})  # type: ignore[typeddict-item]
    client.find("paper")  # type: ignore[arg-type]
    client.upload("me", b"12345")  # type: ignore[arg-type]
    client.remove()  # type: ignore[attr-defined]
    client.corner({"x": 1, "y": 2})["z"]  # type: ignore[typeddict-item]
    text: str = client.total(1)  # type: ignore[assignment]
    text = next(client.break_off())  # type: ignore[assignment]
    Client()  # type: ignore[call-arg]
    del text


if __name__ == "__main__":
    with Client(sys.argv[1], headers={"x-caller": "tests"}) as connected:
        results(connected)
        errors(connected, sys.argv[1])
        streams(connected)
    limits(sys.argv[1])
    print("all is well")
