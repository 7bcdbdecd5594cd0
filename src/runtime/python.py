"""metagate's Python worker: loads the scripts of one deployment and answers calls of their functions. CPython 3.9 or newer.
Standard library only. Modules that not every deployment needs are imported where they are used: they cost 3 to 40 ms each at the start.

Protocol: JSON lines on the socket METAGATE_CHANNEL_FD, `{"type": T, "data": D}` each. In: LoadFunctions (once), CallFunction, Probe;
other types are ignored. Out: GetApplicationMetadata, FunctionInvokeResult, FunctionInvokeError, ProbeResult. End of file ends the worker.

Who runs what. One thread at a time is the *leader*: it reads the channel and runs plain functions inline, so the usual case is a
blocking loop without locks or hand-overs. Awaitables go to one event loop in a thread of its own. With METAGATE_CONCURRENCY above 1,
plain functions that block must not hold up the others:

- The *monitor* samples the leader's current call. If it is the same at two samples, SLOW_AFTER apart, the monitor takes the
  leadership away, writes the answers that wait, and gives the leadership to a follower. The old leader answers its slow call by
  itself and becomes a follower.
- A function that was slow once is given to a follower at once, until it is quick again.

So plain functions run on changing threads, one after another or at once, as in any threaded web server; with METAGATE_CONCURRENCY at
1 they all run on the main thread, and neither monitor nor followers exist.

Why no call is lost or answered twice: before a call the leader puts it on its `ticket` list, after it the leader pops it. The monitor
takes the leadership by popping the same list. `list.pop` is atomic, so exactly one of them gets the item: if the leader, it still
leads; if the monitor, the leader finds the list empty, touches no shared state any more, and writes only its own answer. All that the
next leader needs (messages not yet run, half a line, answers not yet written) lives in `Channel`, owned by whoever leads; a term
of leadership has a ticket list of its own, so an old leader can never pop a new one's item. The monitor finds the follower before it
takes the leadership, so it never holds it without somebody to give it to. If its sample is stale and it catches a call that has only
just begun, that costs a needless hand-over and nothing else.

The monitor sleeps while nothing runs: it puts an item on `parked`, then looks at the ticket again; the leader puts its call on the
ticket, then looks at `parked`. So one of the two sees the other, and who pops `parked` rings (leader) or stays awake (monitor).
"""

import json
import os
import sys
import threading
from collections import deque
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from json.encoder import c_make_encoder, encode_basestring as quote
from time import monotonic, sleep, time
from types import FunctionType

FLUSH_AFTER = 0.0002  # seconds that a finished answer may wait for others of its chunk
SLOW_AFTER = 0.002  # seconds after which a call may lose its place at the head; also the monitor's pace
QUICK = 0.001  # a call of a slow function that takes less makes the function a quick one again
QUIET_SAMPLES = 10  # samples without a call before the monitor goes to sleep
FRESH = 2.0  # seconds; Python's cache tells a script's states apart by whole seconds and its length
END_AFTER = 2.0  # seconds that running calls and user threads get at the end
SWITCH_INTERVAL = 0.001  # seconds; with Python's 5 ms, calls beside a computing one take 5.5 ms in the middle, with this 0.1
PACKAGES = (".packages", "python")  # where `pip install --target` puts what the deployment needs
READ_SIZE = 64 * 1024  # bytes; 256 KiB would map fresh pages at each read: twice the cost of a single small call

# ---- Rendering of values: what a result looks like in JSON ---------------------------------------------------------------------------

ARRAYS = (set, frozenset, deque, range, KeysView, ValuesView, ItemsView)


def render_bytes(value):
    """UTF-8 text if it is that, else base64."""
    data = bytes(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        from binascii import b2a_base64

        return b2a_base64(data, newline=False).decode()


# By module and name, so that none of these modules is imported before the user does.
CONVERSIONS = {
    ("datetime", "datetime"): lambda value: value.isoformat(),
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("decimal", "Decimal"): str,  # always text: a number would lose digits in most clients
    ("uuid", "UUID"): str,
    ("enum", "Enum"): lambda value: value.value,
    ("builtins", "bytes"): render_bytes,
    ("builtins", "bytearray"): render_bytes,
    ("builtins", "memoryview"): render_bytes,
}


def convert(value):
    """Turns a value that JSON does not know into one that it does, one level deep."""
    kind = type(value)
    for base in kind.__mro__:
        conversion = CONVERSIONS.get((base.__module__, base.__qualname__))
        if conversion:
            return conversion(value)
    if isinstance(value, ARRAYS):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    for method in ("model_dump", "dict"):  # pydantic 2 and 1, and what looks like them
        if callable(getattr(kind, method, None)):
            return getattr(value, method)()
    if hasattr(kind, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in sys.modules["dataclasses"].fields(value)}
    if hasattr(kind, "__fspath__"):
        return os.fspath(value)
    hint = " (return a list instead)" if hasattr(kind, "__next__") or hasattr(kind, "__anext__") else ""
    raise TypeError(f"object of type {kind.__name__} cannot be rendered as JSON{hint}")


def render_float(value):
    if value - value != 0:  # only NaN and the infinities
        raise ValueError(f"result: {value} is not a JSON number")
    return repr(value)


SCALARS = {
    int: repr,
    str: quote,
    float: render_float,
    bool: lambda value: "true" if value else "false",
    type(None): lambda value: "null",
}


def render(value):
    """JSON text of a result. Where that fails, an error that names the place."""
    scalar = SCALARS.get(type(value))
    if scalar:
        return scalar(value)
    try:
        return "".join(c_make_encoder({}, convert, quote, None, ":", ",", False, False, False)(value, 0))
    except Exception as error:
        try:
            explain(value, "result")
        except RecursionError:
            raise ValueError("result: nested too deeply, or without end") from None
        raise error


def explain(value, path, parents=()):
    """Raises the error of the first part of `value` that cannot be rendered, with its path."""
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{path}: {value} is not a JSON number")
    if value is None or isinstance(value, (str, int, float)):
        return
    if any(parent is value for parent in parents):
        raise ValueError(f"{path}: refers to itself")
    parents = (*parents, value)
    if isinstance(value, dict):
        for key, item in value.items():
            if not (key is None or isinstance(key, (str, int, float))):
                raise TypeError(f"{path}: key {key!r} of type {type(key).__name__} cannot be rendered as JSON")
            explain(key, f"{path} key")
            explain(item, f"{path}[{quote(key) if isinstance(key, str) else key}]", parents)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            explain(item, f"{path}[{index}]", parents)
    else:
        try:
            converted = convert(value)
        except RecursionError:
            raise
        except Exception as error:
            raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{path}: {error}") from error
        explain(converted, path, parents)


# ---- Signatures: what a function takes and gives, for the metadata -------------------------------------------------------------------

TYPE_IDS = {bool: 0, int: 4, float: 6, str: 7, bytes: 8, list: 9, dict: 10}
UNKNOWN = {"name": "", "id": 20}
VARARGS, VARKEYWORDS, COROUTINE = 0x04, 0x08, 0x80 | 0x100  # code flags: *args, **kwargs, `async def` or types.coroutine


def describe_type(annotation, scope):
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, scope)  # the module's own text, under `from __future__ import annotations`
        except Exception:
            return UNKNOWN
    kind = getattr(annotation, "__origin__", annotation)  # list[int] and typing.List are lists
    if not isinstance(kind, type) or kind is type(None):
        return UNKNOWN
    if kind in TYPE_IDS or kind is annotation:
        return {"name": kind.__name__, "id": TYPE_IDS.get(kind, 20)}
    return UNKNOWN


def parameters(function):
    """Names of the parameters in inspect.signature's order. Reads the code object: importing inspect costs 7 ms."""
    if not isinstance(function, FunctionType) or hasattr(function, "__signature__"):
        import inspect

        return list(inspect.signature(function).parameters)
    code = function.__code__
    positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    args = named + bool(code.co_flags & VARARGS)
    end = args + bool(code.co_flags & VARKEYWORDS)
    names = code.co_varnames
    return [*names[:positional], *names[named:args], *names[positional:named], *names[args:end]]


def describe(name, function):
    """The Func of the protocol."""
    is_async, inner = False, function
    for _ in range(100):  # through decorators to the function with the signature
        code = getattr(inner, "__code__", None)
        is_async = is_async or bool(code and code.co_flags & COROUTINE)
        if not hasattr(inner, "__wrapped__") or hasattr(inner, "__signature__"):
            break
        inner = inner.__wrapped__
    try:
        annotations, scope = getattr(inner, "__annotations__", {}), getattr(inner, "__globals__", {})
        args = [{"name": arg, "type": describe_type(annotations.get(arg), scope)} for arg in parameters(inner)]
        ret = describe_type(annotations.get("return"), scope)
    except Exception:  # no signature to be had, or annotations that fail: still a function
        args, ret = [], UNKNOWN
    return {"name": name, "signature": {"ret": {"type": ret}, "args": args}, "async": is_async}


# ---- Loading -------------------------------------------------------------------------------------------------------------------------

functions = {}


class SiteOnDemand:
    """Under `python3 -S`: brings site-packages in when a module is found nowhere else. Workers without packages start faster for it."""

    lock = threading.Lock()

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if path is not None:
            return None
        with cls.lock:
            if cls in sys.meta_path:
                sys.meta_path.remove(cls)
                import site

                site.main()
        return next(filter(None, (finder.find_spec(name, path, target) for finder in sys.meta_path)), None)


def prepare_imports():
    own_folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != own_folder]
    if sys.flags.no_site:
        import builtins

        builtins.exit = builtins.quit = sys.exit
        sys.meta_path.append(SiteOnDemand)


def add_packages(root):
    """What was installed for the deployment, before what the system has. Costs 1 ms, and nothing where there is none."""
    folder = os.path.join(root, *PACKAGES)
    if os.path.isdir(folder):
        import site

        site.addsitedir(folder)  # reads *.pth files too


def load_module(file):
    """Runs a script as the module of its stem, unless an import by another script has done so."""
    from importlib.util import module_from_spec, spec_from_file_location

    stem = os.path.splitext(os.path.basename(file))[0]
    known = sys.modules.get(stem)
    if known and os.path.realpath(getattr(known, "__file__", None) or "") == os.path.realpath(file):
        return known
    spec = spec_from_file_location(stem, file)
    module = module_from_spec(spec)
    if not known:  # a script named like a module that others rely on must not take its place
        sys.modules[stem] = module
    spec.loader.exec_module(module)
    return module


def exports(module):
    """(functions by name, names of classes) that a module offers: what `__all__` names, else what is public and defined in it."""
    names = getattr(module, "__all__", None)
    found, classes = {}, []
    for name, value in list(vars(module).items()):
        is_class = issubclass(type(value), type)
        if names is None:
            offered = not name.startswith("_") and (is_class or is_function(value)) and value.__module__ == module.__name__
        else:
            offered = name in names and callable(value)
        if offered and is_class:
            classes.append(name)
        elif offered:
            found[name] = value
    return found, classes


def is_function(value):
    """Functions, and what functools.wraps made look like one, such as functools.lru_cache."""
    if type(value) is FunctionType:
        return True
    try:
        return callable(value) and "__wrapped__" in value.__dict__
    except Exception:  # proxies that refuse every look outside of a request
        return False


def load(deployment):
    """Loads every script and sends the metadata, or ends the worker with code 1."""
    root = os.path.normpath(deployment["path"])
    entries = [entry for entry in deployment["jsons"] if entry["language_id"] in ("py", "python")]
    scripts = [(script, os.path.join(root, entry.get("path") or ".", script)) for entry in entries for script in entry["scripts"]]
    files = [(script, os.path.normpath(file)) for script, file in scripts]
    add_packages(root)
    for _, file in files:
        stem = os.path.splitext(os.path.basename(file))[0]
        if stem in getattr(sys, "stdlib_module_names", ()):
            keep_standard(stem)
    for folder in dict.fromkeys([root, *(os.path.dirname(file) for _, file in files)]):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    if any(is_fresh(file) for _, file in files):
        sys.dont_write_bytecode = True
    handles = []
    for script, file in files:
        try:
            found, classes = exports(load_module(file))
        except BaseException as error:
            sys.stderr.write(f"metagate: loading {script!r}: {describe_error(error)['stack']}\n")
            flush_output()
            os._exit(1)
        for name, function in found.items():
            if functions.get(name, function) is not function:
                sys.stderr.write(f"metagate: function {name!r} of {script!r} replaces the one of another script\n")
                for handle in handles:
                    handle["scope"]["funcs"] = [func for func in handle["scope"]["funcs"] if func["name"] != name]
        functions.update(found)
        funcs = [describe(name, function) for name, function in found.items()]
        scope = {"name": "global_namespace", "funcs": funcs, "classes": [{"name": name} for name in classes], "objects": []}
        handles.append({"name": script, "scope": scope})
    metadata = {"status": "ready", "prefix": "", "suffix": deployment["id"], "version": "v1", "packages": {"py": handles}, "ports": []}
    write(json.dumps({"type": "GetApplicationMetadata", "data": metadata}) + "\n")
    if any(func["async"] for handle in handles for func in handle["scope"]["funcs"]):
        start_loop()  # after the answer: asyncio takes 35 ms to import


def is_fresh(file):
    """Whether a script was written just now: if it is written again at once, what was compiled of it must not be taken for the new one."""
    try:
        return time() - os.stat(file).st_mtime < FRESH
    except OSError:
        return False  # loading it tells what is wrong


def keep_standard(module):
    """Imports Python's own module before a script of the same name hides it: a `queue.py` must not break asyncio."""
    try:
        __import__(module)
    except Exception:
        pass  # not on this platform: then nothing relies on it


# ---- Calling -------------------------------------------------------------------------------------------------------------------------


def describe_error(error):
    """Name, message and traceback, without the worker's own frames."""
    import traceback

    frames = error.__traceback__
    while frames and (frames.tb_frame.f_code.co_filename == __file__ or "importlib._bootstrap" in frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    try:
        message = str(error)
    except Exception:
        message = ""
    try:
        stack = "".join(traceback.format_exception(type(error), error, frames)).rstrip()
    except Exception:
        stack = f"{type(error).__name__}: {message}"
    return {"name": type(error).__name__, "message": message, "stack": stack}


def result_line(call_id, value):
    return f'{{"type":"FunctionInvokeResult","data":{{"id":{quote(call_id)},"result":{render(value)}}}}}\n'


def error_line(call_id, error):
    data = {"id": call_id, "error": describe_error(error)}
    return json.dumps({"type": "FunctionInvokeError", "data": data}) + "\n"


def perform(call):
    """Runs one call. Gives the line that answers it, or None if the event loop will."""
    call_id = call["id"]
    try:
        function = functions.get(call["name"])
        if function is None:
            raise LookupError(f"no function {call['name']!r}")
        result = function(*call["args"])
        if type(result) not in SCALARS and hasattr(result, "__await__"):
            start_loop()
            arriving.append((call_id, result))
            return None
        return result_line(call_id, result)
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a function too
        return error_line(call_id, error)


# Awaitables: the leader puts them on `arriving` and wakes the loop once per chunk; the loop writes once per round of its own.
loop = None
loop_lock = threading.Lock()
arriving = deque()
admitting = []  # holds an item from the wake-up to the moment the loop begins to empty `arriving`
tasks = {}  # by call id: what the loop runs, kept alive
settled = []  # answers of this round of the loop


def start_loop():
    global loop
    if loop:
        return
    with loop_lock:
        if loop:
            return
        import asyncio

        new_loop = asyncio.new_event_loop()
        threading.Thread(target=run_loop, args=(new_loop,), name="metagate-loop", daemon=True).start()
        loop = new_loop


def run_loop(own_loop):
    while True:
        try:
            own_loop.run_forever()
        except BaseException as error:  # SystemExit in a task that a function left behind
            sys.stderr.write(f"metagate: in a background task: {describe_error(error)['stack']}\n")


def wake_loop():
    if arriving and not admitting:
        admitting.append(True)
        loop.call_soon_threadsafe(admit)


def admit():
    admitting.clear()  # before emptying, so that whoever adds an item after this wakes the loop again
    while arriving:
        call_id, awaitable = arriving.popleft()
        tasks[call_id] = loop.create_task(settle(call_id, awaitable))


async def settle(call_id, awaitable):
    try:
        line = result_line(call_id, await awaitable)
    except BaseException as error:
        line = error_line(call_id, error)
    del tasks[call_id]
    if not settled:
        loop.call_soon(write_settled)
    settled.append(line)


def write_settled():
    text = "".join(settled)
    settled.clear()
    write(text)


# ---- Channel: leader, followers, monitor ---------------------------------------------------------------------------------------------


LEAD, END = "lead", "end"  # jobs of a follower


class Channel:
    """The socket, and the state that goes from leader to leader."""

    fd = -1
    rest = b""  # the half line at the end of what was read
    messages = iter(())  # of the current chunk, not yet looked at
    answers = []  # lines not yet written
    ticket = []  # the current leader's: the call it runs
    gone = False  # nobody reads our answers any more


class Follower:
    """A thread that may lead or run a slow call; `lock` is released to wake it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.lock.acquire()
        self.job = None  # LEAD, END, or a call

    def wake(self, job):
        self.job = job
        self.lock.release()

    def follow(self):
        while True:
            self.lock.acquire()
            job, self.job = self.job, None
            if job is END:
                return
            try:
                lead() if job is LEAD else perform_slow(job)
            except BaseException:  # our own fault or Ctrl-C: without a leader the worker would hang
                sys.excepthook(*sys.exc_info())
                flush_output()
                os._exit(1)
            job = None  # its arguments may be large
            idle.append(self)


channel = Channel()
write_lock = threading.Lock()
main_thread = Follower()
followers = [main_thread]
idle = []  # followers that wait
pool_lock = threading.Lock()
pool_limit = 1
slow = set()  # names of functions that took long the last time
parked = []  # holds an item while the monitor sleeps
bell = threading.Lock()
bell.acquire()


def write(text):
    # A lone surrogate cannot be UTF-8; `backslashreplace` makes it \udXXX, which is JSON's escape for it.
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    with write_lock:
        try:
            while data and not channel.gone:
                data = data[os.write(channel.fd, data) :]
        except OSError:
            channel.gone = True  # the gateway is gone; the reader sees the end of the file


def flush():
    if channel.answers:
        text = "".join(channel.answers)
        channel.answers.clear()
        write(text)
    if arriving:
        wake_loop()


scan = json.JSONDecoder().scan_once


def parse(text):
    """The messages of some whole lines: one parse for all, or, if that fails, line by line."""
    try:
        return scan("[" + text.replace("\n", ",") + "]", 0)[0]
    except (StopIteration, ValueError, RecursionError):
        return [message for line in text.split("\n") if line.strip() for message in parse_line(line)]


def parse_line(line):
    try:
        return [json.loads(line)]
    except (ValueError, RecursionError) as error:
        import re

        call = re.match(r'\{"type":"CallFunction","data":\{"id":("[^"\\]*")', line)
        if call:  # arguments nested too deeply
            kind = RecursionError if isinstance(error, RecursionError) else ValueError
            write(error_line(json.loads(call[1]), kind(f"arguments: {error}")))
        else:
            sys.stderr.write(f"metagate: not a message: {line[:200]!r}\n")
        return []


def receive():
    """Blocks for the messages of the next whole lines; None at the end."""
    pieces = [channel.rest]
    while True:
        try:
            data = os.read(channel.fd, READ_SIZE)
        except OSError:
            data = b""
        if not data or channel.gone:
            return None
        end = data.rfind(b"\n")
        if end < 0:
            pieces.append(data)
            continue
        channel.rest = data[end + 1 :]
        pieces.append(data[:end])
        return parse(b"".join(pieces).decode("utf-8", "replace"))


def lead():
    """Reads and runs calls until the channel ends or the monitor gives the leadership to another thread."""
    ticket = []
    channel.ticket = ticket
    answers = channel.answers
    flush_at = monotonic() + FLUSH_AFTER
    while True:
        for message in channel.messages:
            call = message.get("data")
            if message.get("type") != "CallFunction":
                if message.get("type") == "Probe":
                    write('{"type":"ProbeResult"}\n')
                elif message.get("type") == "LoadFunctions" and not functions:
                    load(call)
                continue
            if call["name"] in slow and give_away(call):
                continue
            ticket.append(call)
            if parked:
                wake_monitor()
            line = perform(call)
            try:
                ticket.pop()
            except IndexError:  # somebody else leads now
                return send(line)
            if line:
                answers.append(line)
            if monotonic() > flush_at:
                flush()
                flush_at = monotonic() + FLUSH_AFTER
        flush()
        messages = receive()
        if messages is None:
            return end()
        channel.messages = iter(messages)
        flush_at = monotonic() + FLUSH_AFTER


def give_away(call):
    follower = spare_follower()
    if follower:
        follower.wake(call)
    return follower


def perform_slow(call):
    start = monotonic()
    line = perform(call)
    if monotonic() - start < QUICK:
        slow.discard(call["name"])
    send(line)


def send(line):
    """Answers a call outside the leader's batch."""
    if line:
        write(line)
    else:
        wake_loop()


def spare_follower():
    """A follower that waits, or a new one; None if there are enough already."""
    try:
        return idle.pop()
    except IndexError:
        pass
    with pool_lock:
        if len(followers) >= pool_limit:
            return None
        follower = Follower()
        try:
            threading.Thread(target=follower.follow, name=f"metagate-{len(followers)}", daemon=True).start()
        except RuntimeError:  # no more threads to be had
            return None
        followers.append(follower)
        return follower


def wake_monitor():
    try:
        parked.pop()
    except IndexError:
        return
    bell.release()


def monitor():
    seen, quiet = None, 0
    while True:
        sleep(SLOW_AFTER)
        current = channel.ticket[-1:]
        if current and current[0] is seen:
            take_over(seen)
            seen = None
        elif current:
            seen, quiet = current[0], 0
        else:
            seen, quiet = None, quiet + 1
            if quiet >= QUIET_SAMPLES:
                quiet = 0
                park()


def park():
    parked.append(True)
    if channel.ticket:
        try:
            parked.pop()
            return
        except IndexError:
            pass  # the leader has it, and rings
    bell.acquire()


def take_over(call):
    follower = spare_follower()
    if follower is None:
        return
    try:
        channel.ticket.pop()
    except IndexError:  # the call has ended after all
        idle.append(follower)
        return
    slow.add(call["name"])
    flush()
    follower.wake(LEAD)


def flush_output():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def end():
    """The gateway is gone or done with us: what runs may finish, and then the main thread ends, with the user's exit handlers."""
    flush_output()
    try:
        threading.Thread(target=lambda: (sleep(END_AFTER), os._exit(0)), daemon=True).start()
    except RuntimeError:
        os._exit(0)
    while len(idle) < len(followers) - 1 or tasks or arriving or settled:
        sleep(0.005)
    main_thread.wake(END)


# ---- Start ---------------------------------------------------------------------------------------------------------------------------


def forget_channel():
    """In a forked child: the channel belongs to the parent."""
    if channel.fd >= 0:
        os.close(channel.fd)
        channel.fd = -1


def main():
    global pool_limit
    channel.fd = int(os.environ.pop("METAGATE_CHANNEL_FD", "3"))
    os.set_inheritable(channel.fd, False)
    os.set_blocking(channel.fd, True)
    os.register_at_fork(after_in_child=forget_channel)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    prepare_imports()
    concurrency = int(os.environ.pop("METAGATE_CONCURRENCY", "1"))
    if concurrency > 1:
        pool_limit = concurrency + 1  # one more, so that somebody reads while all of them run
        sys.setswitchinterval(SWITCH_INTERVAL)
        threading.Thread(target=monitor, name="metagate-monitor", daemon=True).start()
    main_thread.wake(LEAD)
    main_thread.follow()


if __name__ == "__main__":
    main()
