"""Finds out whether the plain functions of a deployment need the main thread. Python itself demands it for handlers of
signals; objects that the scripts make while they are imported demand it when they serve their own thread only, such as
connections of sqlite3, or one call at a time, such as an event loop that functions run.

Such functions would work when they are tried one at a time and fail under load. This module looks at what the scripts
have made and at the code of their functions, and errs on the side of several threads: what it misses fails at each
call, with an error that names `concurrency = 1`. Worker and module are loaded once, so it may take a millisecond.
"""

import os
import sys
import threading
from types import CodeType, FunctionType, MethodType, ModuleType

MOST_OBJECTS = 5_000  # values and functions that are looked at
DEPTH = 3  # of values inside of others
COROUTINE = 0x80 | 0x100 | 0x200  # code flags of `async def`, types.coroutine and asynchronous generators
TIMERS = ("setitimer", "alarm", "set_wakeup_fd", "siginterrupt")  # functions of the module `signal`
INSTALLED = ("site-packages", "dist-packages", ".packages", "node_modules")  # folders of code that others wrote


def reason(root, scripts, functions):
    """Why the functions, by name, need the main thread, as the end of a sentence; None if they do not."""
    own = {id(module): module for module in [*scripts, *list(sys.modules.values())] if is_own(module, root)}
    names = {module.__name__ for module in own.values()}
    walk = Walk(names, functions)
    is_idle_loop_run = False
    for name, code, scope in walk.codes():
        used = main_only_call(code, scope) or kept_connection(code, scope, id(code) in walk.cached)
        if used:
            return f"{name} uses {used}"
        is_idle_loop_run = is_idle_loop_run or "run_until_complete" in code.co_names
    for module in own.values():
        bound = bound_value(list(vars(module).items()), names, is_idle_loop_run, DEPTH, set())
        if bound:
            return f"{module.__name__}.{bound} belongs to the thread that imports the scripts"
    return None


def is_own(module, root):
    file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
    if not isinstance(file, str) or not file.startswith(root + os.sep):  # an absolute path, as all of `sys.path`
        return False
    return not any(part in INSTALLED for part in file[len(root) :].split(os.sep))


# ---- Values that scripts have made -----------------------------------------------------------------------------------


def bound_value(items, own_names, is_loop_run, depth, seen):
    """The path of the first value that other threads cannot use, with what it is."""
    for key, value in items:
        kind = type(value)
        if id(value) in seen or len(seen) > MOST_OBJECTS or issubclass(kind, (str, int, float, type, ModuleType)):
            continue
        seen.add(id(value))
        if is_bound(value, kind, is_loop_run):
            return f"{key} ({kind.__module__}.{kind.__qualname__})"
        inner = parts(value, kind, own_names) if depth else ()
        found = bound_value(inner, own_names, is_loop_run, depth - 1, seen)
        if found:
            return f"{key}.{found}"
    return None


def is_bound(value, kind, is_loop_run):
    sqlite, asyncio = sys.modules.get("sqlite3"), sys.modules.get("asyncio")
    if sqlite and issubclass(kind, (sqlite.Connection, sqlite.Cursor)):
        return refuses_other_threads(value.connection if issubclass(kind, sqlite.Cursor) else value)
    if asyncio and is_loop_run and issubclass(kind, asyncio.AbstractEventLoop):
        return not value.is_running() and not value.is_closed()
    return False


def refuses_other_threads(connection):
    """Whether a connection of sqlite3 was made with its default, `check_same_thread=True`."""
    refused = []

    def try_it():
        try:
            connection.cursor().close()
        except Exception as error:
            refused.append("same thread" in str(error))

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return refused == [True]


def parts(value, kind, own_names):
    """What a value of a script holds: items of containers, attributes of instances of own classes."""
    if issubclass(kind, dict):
        return list(dict.items(value))[:100]
    if issubclass(kind, (list, tuple)):
        return list(enumerate(value[:100]))
    if kind.__module__ in own_names:
        try:
            return list(object.__getattribute__(value, "__dict__").items())[:100]
        except Exception:  # no attributes of its own
            return ()
    return ()


# ---- Code of functions -----------------------------------------------------------------------------------------------


class Walk:
    """The code that plain functions reach: own functions, wherever they are called, and those of installed packages
    that own code names itself, such as decorators. Standard modules are left out."""

    def __init__(self, own_names, functions):
        self.own_names = own_names
        self.seen = set()
        self.cached = set()  # the code of functions whose results are kept, as by functools.lru_cache
        self.waiting = [(name, function, True) for name, function in functions.items()]

    def codes(self):
        """(exported name, code, its module's namespace) of each."""
        while self.waiting and len(self.seen) < MOST_OBJECTS:
            name, value, is_near = self.waiting.pop()
            if id(value) in self.seen:
                continue
            self.seen.add(id(value))
            function = self.function_of(name, value, is_near)
            if function is None or is_standard(function) or function.__code__.co_flags & COROUTINE:
                continue
            is_own = function.__module__ in self.own_names
            for code in with_inner(function.__code__):
                yield name, code, function.__globals__
                if is_own or is_near:
                    self.add_named(name, code, function.__globals__, is_own)
            for cell in function.__closure__ or ():
                try:
                    self.waiting.append((name, cell.cell_contents, is_own or is_near))
                except ValueError:  # not set yet
                    pass

    def function_of(self, name, value, is_near):
        """The Python function behind a callable; what else it calls is added."""
        kind = type(value)
        try:
            if issubclass(kind, type):
                if value.__module__ in self.own_names or is_near and not is_standard(value):
                    members = [member for member in vars(value).values() if isinstance(member, FunctionType)]
                    self.waiting += [(name, member, False) for member in members]
                return None
            if kind is MethodType:
                return value.__func__ if isinstance(value.__func__, FunctionType) else None
            if kind is FunctionType:
                if "__wrapped__" in value.__dict__:
                    self.waiting.append((name, value.__wrapped__, is_near))
                return value
            if hasattr(value, "cache_info"):
                self.cached.add(id(getattr(value.__wrapped__, "__code__", None)))
            if hasattr(value, "__wrapped__") or hasattr(value, "func"):  # lru_cache, partial
                self.waiting.append((name, getattr(value, "__wrapped__", None) or value.func, is_near))
            call = getattr(kind, "__call__", None)
            return call if type(call) is FunctionType else None
        except Exception:  # an object that raises when it is looked at
            return None

    def add_named(self, name, code, scope, is_near):
        """Adds the functions and classes that code names, by themselves or as attributes of modules."""
        for used in code.co_names:
            value = scope.get(used)
            if isinstance(value, ModuleType) and not is_standard(value):
                members = [vars(value).get(attribute) for attribute in code.co_names]
                self.waiting += [(name, member, is_near) for member in members if callable_code(member)]
            elif callable_code(value):
                self.waiting.append((name, value, is_near))


def callable_code(value):
    return isinstance(value, (FunctionType, MethodType, type))


def with_inner(code):
    """A function's code, and that of plain functions inside of it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_flags & COROUTINE:
            yield from with_inner(constant)


def is_standard(value):
    """Whether a module, class or function is Python's own."""
    name = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", None) or "builtins"
    known = getattr(sys, "stdlib_module_names", ())  # Python 3.10
    return name.partition(".")[0] in known


def main_only_call(code, scope):
    """What a function's code calls that works on the main thread only."""
    names = code.co_names
    if "get_event_loop" in names:
        return "get_event_loop"
    signal = sys.modules.get("signal")
    for name in names:
        value = scope.get(name)
        if signal and value is not None and value is getattr(signal, "signal", None):
            return "signal.signal"
        if value is signal and signal is not None or name == "signal" and value is None:
            found = next((timer for timer in TIMERS if timer in names), None)
            if found or calls_attribute(code, "signal"):
                return f"signal.{found or 'signal'}"
        if signal and name in TIMERS and value is not None and value is getattr(signal, name, None):
            return f"signal.{name}"
    return None


def kept_connection(code, scope, is_cached):
    """Whether a function keeps a connection of sqlite3 that it makes, for other calls to use on their threads."""
    sqlite = sys.modules.get("sqlite3")
    if not sqlite or "connect" not in code.co_names or any("check_same_thread" in names for names in tuples(code)):
        return None
    values = [scope.get(name) for name in code.co_names]
    is_sqlite = any(value is sqlite or value is sqlite.connect for value in values)
    if not is_sqlite or any(isinstance(value, threading.local) for value in values):
        return None
    import dis

    keeps = ("STORE_GLOBAL", "STORE_ATTR", "STORE_SUBSCR")
    if is_cached or any(step.opname in keeps for step in dis.get_instructions(code)):
        return "a connection of sqlite3 that it keeps"
    return None


def tuples(code):
    """The constants of code that are tuples, among them the names of keyword arguments."""
    return [constant for constant in code.co_consts if isinstance(constant, tuple)]


def calls_attribute(code, attribute):
    """Whether code takes an attribute of that name of anything, as in `signal.signal(…)`."""
    import dis

    kinds = ("LOAD_ATTR", "LOAD_METHOD")
    return any(step.opname in kinds and step.argval == attribute for step in dis.get_instructions(code))
