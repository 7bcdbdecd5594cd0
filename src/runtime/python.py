"""metagate's Python worker: loads the scripts of one release and runs their functions for the gateway. CPython 3.9 or
newer, standard library only. node.js is its twin: the same parts in the same order, the same names, and what one
accepts the other accepts.

A worker starts within a call's wait, so imports are paid for by callers. `json` costs 9 ms, because it imports `re`:
its C parts are used directly. Modules that not every deployment needs are imported where they are used.

The gateway starts it in the release's folder with one end of a UNIX stream socketpair as METAGATE_CHANNEL_FD. A
message is one JSON object on one line, `{"type": T, "data": D}`.

    gateway → worker   LoadFunctions           {"id","path","jsons":[{"language_id":"py","path":".","scripts":[…]}]}
                       CallFunction            {"id","name","args":[…]}
                       Probe                   asks whether the worker still reads
                       CancelCall, StreamCredit, BodyData, BodyEnd, BodyError: python_http.py
    worker → gateway   GetApplicationMetadata  the functions that were loaded, once
                       FunctionInvokeResult    {"id","result"}
                       FunctionInvokeError     {"id","error":{"name","message","stack"}}
                       ProbeResult             the answer to Probe
                       Retire                  {"reason"}: asks for another worker in its place, once
                       StreamStart, StreamItem, StreamData, StreamEnd, BodyCredit: python_streams.py, python_bodies.py

Odd messages never end the worker. One of an unknown type is ignored. A line that is not a message, and a message
without the data of its type, is ignored and logged. A call with an `id` but without a usable name or arguments is
answered with the error `InvalidCall`. Missing `args` count as none.

A script that fails to load ends the worker with code 1. After the load, an error outside a call (in a thread, in a
task that is not awaited) makes the worker ask to be replaced. The end of the channel ends it with code 0, and handlers
of `atexit` run.

Threads. The main thread imports the scripts. One thread at a time is the *leader*: it reads the channel and runs plain
functions itself, so the usual case is a blocking loop without locks or hand-overs. Awaitables go to one event loop.
Where a function runs never depends on what else runs:

- With METAGATE_CONCURRENCY at 1, the main thread leads for good and runs every plain function; the event loop has a
  thread of its own.
- Above 1, the main thread gives the lead away once the scripts are loaded and never runs a plain function. It runs the
  event loop.
- Above 1, with scripts that need the main thread (python_main_thread.py finds out): the reading thread hands each call
  of a plain function to the main thread, which runs them one after another; the event loop has a thread of its own.

In the second case plain functions that block must not hold up the others:

- The *monitor* samples the leader's current call. If two samples, SLOW_AFTER apart, see the same call, the monitor
  takes the lead away, writes the answers that wait, and gives the lead to a follower. The old leader answers its slow
  call itself and becomes a follower.
- A function that was slow once is given to a follower at once, until it is quick again.

So plain functions run on changing threads, one after another or concurrently, as in any threaded web server.

Each call runs in a copy of the context in which the scripts were imported: context variables that it sets, and settings
of `decimal`, end with it.

No call is lost or answered twice. Before a call the leader puts it on its `ticket` list; after it the leader pops it.
The monitor takes the lead by popping the same list. `list.pop` is atomic, so exactly one of them gets the item. If
the leader gets it, it still leads. If the monitor gets it, the leader finds the list empty, touches no shared state
any more, and writes its own answer only. Everything that the next leader needs (messages not yet run, half a line,
answers not yet written) lives in `Channel`, which the leader owns. Each term of leadership has a ticket list of its
own, so an old leader can never pop the item of a new one. The monitor finds a follower before it takes the lead, so
there is always a thread to give it to. A stale sample may catch a call that has only just begun; that costs a
needless hand-over and nothing else.

The monitor sleeps while nothing runs: it puts an item on `parked`, then looks at the ticket again. The leader puts
its call on the ticket, then looks at `parked`. So at least one of them sees the other's item, and the one that pops
`parked` either rings the bell (the leader) or stays awake (the monitor).
"""

import os
import sys
import threading
from _contextvars import ContextVar, copy_context
from _json import encode_basestring as quote, make_encoder, make_scanner
from _queue import SimpleQueue
from collections import deque
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from time import monotonic, sleep, time
from types import FunctionType

READ_SIZE = 64 * 1024  # bytes; 256 KiB would map fresh pages at each read, twice the cost of a small call
HOLD = 0.0002  # seconds for which an answer may wait for others of its chunk
SLOW_AFTER = 0.002  # seconds after which a call may lose the lead; also the monitor's pace
QUICK = 0.001  # seconds; a call of a slow function that takes less makes the function a quick one again
QUIET_SAMPLES = 10  # samples without a call before the monitor goes to sleep
FRESH = 2.0  # seconds; Python's cache tells versions of a script apart by the second and the length only
GRACE = 1.0  # seconds that running calls and user threads get after the end of the channel; exit handlers follow
SWITCH_INTERVAL = 0.001  # seconds; next to a computing call another takes 0.1 ms, with Python's default 5.5
STARTS_OF_PROCESSES = ("_execute_child", "_launch", "fork")  # functions of the standard library that start one
ERROR_LENGTH = 20_000  # characters of an error's message and stack when the whole is longer than a message may be
PACKAGES = (".packages", "python")  # the folder of `pip install --target`, as the gateway installs dependencies

# ---- Rendering of values: what a result looks like in JSON -----------------------------------------------------------

ARRAYS = (set, frozenset, deque, range, KeysView, ValuesView, ItemsView)


def render_bytes(value):
    """UTF-8 text if it is that, else base64."""
    data = bytes(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        from binascii import b2a_base64

        return b2a_base64(data, newline=False).decode()


def render_model(value):
    """A model of pydantic by the aliases of its fields, as its schema and FastAPI have them."""
    return (value.model_dump if hasattr(value, "model_dump") else value.dict)(by_alias=True)


# By module and name, so that the worker imports none of these modules.
CONVERSIONS = {
    ("datetime", "datetime"): lambda value: value.isoformat(),
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("decimal", "Decimal"): str,  # text, because a number would lose digits in most clients
    ("uuid", "UUID"): str,
    ("enum", "Enum"): lambda value: value.value,
    ("fractions", "Fraction"): str,
    ("array", "array"): lambda value: value.tolist(),
    ("types", "SimpleNamespace"): vars,
    ("builtins", "BaseException"): lambda value: {"name": type(value).__name__, "message": str(value), **vars(value)},
    ("ipaddress", "_BaseAddress"): str,
    ("ipaddress", "_BaseNetwork"): str,
    ("numpy", "generic"): lambda value: value.item(),
    ("numpy", "ndarray"): lambda value: value.tolist(),
    ("pandas.core.frame", "DataFrame"): lambda value: value.to_dict(orient="records"),
    ("pandas", "DataFrame"): lambda value: value.to_dict(orient="records"),
    ("pandas.core.series", "Series"): lambda value: value.to_list(),
    ("pandas", "Series"): lambda value: value.to_list(),
    ("pydantic.main", "BaseModel"): render_model,
    ("builtins", "bytes"): render_bytes,
    ("builtins", "bytearray"): render_bytes,
    ("builtins", "memoryview"): render_bytes,
}


def convert(value):
    """The value of another type that stands for one without a JSON form, one level deep."""
    kind = type(value)
    for base in kind.__mro__:
        conversion = CONVERSIONS.get((base.__module__, base.__qualname__))
        if conversion:
            return conversion(value)
    if isinstance(value, ARRAYS):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    for method in ("model_dump", "dict"):  # what looks like models of pydantic
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
SCALARS_OF_KEYS = (bool, int, float, type(None))  # a bool is an int too
PLAIN_RESULTS = {*SCALARS, dict, list, tuple}


def encoder(default):
    """A function from a value to the pieces of its JSON text. NaN is an error."""
    return make_encoder({}, default, quote, None, ":", ",", False, False, False)


def render(value):
    """The JSON text of a result. Raises an error that names the place of a value without a JSON form."""
    scalar = SCALARS.get(type(value))
    if scalar:
        return scalar(value)
    try:
        return "".join(encoder(convert)(value, 0))
    except Exception as error:
        try:
            # The encoder has no way to convert keys.
            return "".join(encoder(convert)(with_text_keys(value), 0))
        except Exception:
            pass
        try:
            explain(value, "result")
        except RecursionError:
            raise ValueError("result: nested too deeply, or without end") from None
        raise error


def with_text_keys(value):
    """The value with keys that JSON can have: a date, a UUID or an enum member as a key is what it is as a value."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            text = json_key(text_key(key))
            if text in found:
                raise TypeError("two keys with one text")
            found[text] = with_text_keys(item)
        return found
    if isinstance(value, (list, tuple)):
        return [with_text_keys(item) for item in value]
    return with_text_keys(convert(value))


def text_key(key):
    if key is None or isinstance(key, (str, int, float)) and not is_enum(key):
        return key
    converted = convert(key)
    if isinstance(converted, (str, int, float)):
        return converted
    raise TypeError("not a key")


def json_key(key):
    """The text of a key, as the encoder writes it."""
    if isinstance(key, str):
        return key
    return SCALARS[next(kind for kind in SCALARS_OF_KEYS if isinstance(key, kind))](key)


def is_enum(value):
    return hasattr(type(value), "_member_map_")


def explain(value, path, parents=()):
    """Raises an error with the path of the first part of `value` that cannot be rendered."""
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{path}: {value} is not a JSON number")
    if value is None or isinstance(value, (str, int, float)):
        return
    if any(parent is value for parent in parents):
        raise ValueError(f"{path}: refers to itself")
    parents = (*parents, value)
    if isinstance(value, dict):
        texts = set()
        for key, item in value.items():
            try:
                key = text_key(key)
                if json_key(key) in texts:
                    raise ValueError(f"{path}: two keys are {quote(json_key(key))} as text")
                texts.add(json_key(key))
            except ValueError:
                raise
            except Exception:
                raise TypeError(
                    f"{path}: key {key!r} of type {type(key).__name__} cannot be rendered as JSON"
                ) from None
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


# ---- Signatures ---------------------------------------------------

TYPE_IDS = {bool: 0, int: 4, float: 6, str: 7, bytes: 8, list: 9, dict: 10}
UNKNOWN = {"name": "", "id": 20}
DESCRIPTION_LENGTH = 1_000  # characters of a docstring in the metadata
DEFAULT_LENGTH = 200  # characters of a default in the metadata
# What docstrings that describe parameters have.
PARAMETER_MARKS = (":param", "@param", ":arg", "Args:", "Arguments:", "Parameters", "Params:")
VARARGS, VARKEYWORDS, COROUTINE = 0x04, 0x08, 0x80 | 0x100 | 0x200  # code flags; COROUTINE: any kind of `async def`
STREAM = 0x20 | 0x200  # any kind of generator


def describe_type(annotation, scope):
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, scope)  # text of the module itself: `from __future__ import annotations`
        except Exception:
            return UNKNOWN
    kind = getattr(annotation, "__origin__", annotation)  # list[int] and typing.List are lists
    if not isinstance(kind, type) or kind is type(None):
        return UNKNOWN
    if kind in TYPE_IDS or kind is annotation:
        return {"name": kind.__name__, "id": TYPE_IDS.get(kind, 20)}
    return UNKNOWN


def parameter_names(function):
    """The parameters in inspect.signature's order. It reads the code object, because importing inspect costs 7 ms."""
    if not isinstance(function, FunctionType) or hasattr(function, "__signature__"):
        import inspect

        return list(inspect.signature(function).parameters)
    code = function.__code__
    positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    args = named + bool(code.co_flags & VARARGS)
    end = args + bool(code.co_flags & VARKEYWORDS)
    names = code.co_varnames
    return [*names[:positional], *names[named:args], *names[positional:named], *names[args:end]]


def describe_function(name, function):
    """A function as the metadata lists it; `schema` has what its declared types say."""
    is_async, inner, declares_result = False, function, False
    for _ in range(100):  # through decorators, to the function with the signature
        code = getattr(inner, "__code__", None)
        is_async = is_async or bool(code and code.co_flags & COROUTINE)
        if not hasattr(inner, "__wrapped__") or hasattr(inner, "__signature__"):
            break
        inner = inner.__wrapped__
    try:
        annotations, scope = getattr(inner, "__annotations__", {}), getattr(inner, "__globals__", {})
        args = [{"name": arg, "type": describe_type(annotations.get(arg), scope)} for arg in parameter_names(inner)]
        ret = describe_type(annotations.get("return"), scope)
        declares_result = "return" in annotations
    except Exception:  # a function without a signature, or whose annotations raise, can still be called
        args, ret = [], UNKNOWN
    described = {"name": name, "signature": {"ret": {"type": ret}, "args": args}, "async": is_async}
    if declares_result:
        binder_of(name, function)
    if binders.get(name):
        described["schema"] = binders[name].schema()
    elif type(inner) is FunctionType and not hasattr(inner, "__signature__"):
        described["schema"] = schema_without_types(inner)
    return described


def schema_without_types(function):
    code, defaults = function.__code__, len(function.__defaults__ or ())
    named = code.co_argcount + code.co_kwonlyargcount
    by_name, by_order = function.__kwdefaults__ or {}, function.__defaults__ or ()
    known = {**dict(zip(code.co_varnames[code.co_argcount - defaults :], by_order)), **by_name}
    text = function.__doc__
    is_marked = isinstance(text, str) and any(mark in text for mark in PARAMETER_MARKS)
    texts = own_module("python_binding").described_names(text) if is_marked else {}
    listed = []
    for at, name in enumerate(parameter_names(function)):
        kind, required = "positional", at < code.co_argcount - defaults
        if name in code.co_varnames[code.co_argcount : named]:
            kind, required = "keyword-only", name not in by_name
        elif name in code.co_varnames[named:]:
            kind = "rest" if code.co_flags & VARARGS and name == code.co_varnames[named] else "rest-by-name"
        notes = {"description": texts[name]} if name in texts else {}
        if name in known and is_plain_default(known[name]):
            notes["default"] = known[name]
        listed.append({"name": name, "kind": kind, "required": required, "schema": notes})
    description = {"description": text[:DESCRIPTION_LENGTH]} if isinstance(text, str) else {}
    items = {"items": {}} if code.co_flags & STREAM else {}
    return {"parameters": listed, "returns": {}, **items, **description}


def is_plain_default(value):
    if type(value) is float:
        return value - value == 0
    return type(value) in SCALARS and (type(value) is not str or len(value) <= DEFAULT_LENGTH)


# ---- Loading ---------------------------------------------------------------------------------------------------------

# Scripts without which a release is not served, where no metacall.json lists its scripts.
MAIN_SCRIPTS = ("main", "app", "index", "api", "server", "handler", "function", "functions", "lambda_function")

loading = False  # LoadFunctions has come
deployment_name = ""
app = None  # the application that the deployment serves, of python_apps.py
asks_request = None  # whether calls have the member `request`; None until the metadata is sent
project = {}  # the files of the scripts
functions = {}  # name → (function, fewest and most arguments of a call by order, whether arguments are converted)


class SiteOnDemand:
    """Under `python3 -S`: adds site-packages when a module is found nowhere else. Others start faster."""

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


class MetagateModule:
    """Finds the module `metagate`, unless the project has one of that name."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "metagate":
            return None
        from _frozen_importlib_external import SourceFileLoader, spec_from_file_location

        class Loader(SourceFileLoader):
            def exec_module(self, module):
                module._worker = sys.modules[__name__]
                super().exec_module(module)

        file = own_file("python_metagate")
        return spec_from_file_location(name, file, loader=Loader(name, file))


def prepare_imports():
    own_folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != own_folder]
    if sys.flags.no_site:
        import builtins

        builtins.exit = builtins.quit = sys.exit
        sys.meta_path.append(SiteOnDemand)
    sys.meta_path.insert(-1 if sys.flags.no_site else len(sys.meta_path), MetagateModule)


def add_packages(root):
    """Puts the deployment's installed packages before the system's. Costs 1 ms if there are any."""
    folder = os.path.join(root, *PACKAGES)
    if os.path.isdir(folder):
        import site

        site.addsitedir(folder)  # reads *.pth files too


def load_script(file, root):
    """Runs a script as the module of its stem, or of its package if its folder is one below the release's, unless an
    import by another script has done so."""
    package = package_of(os.path.dirname(file), root)
    if package:
        name = ".".join((*package, os.path.splitext(os.path.basename(file))[0]))
        __import__(name)
        return sys.modules[name]
    # Frozen modules that `importlib.util` gets these from; importing that one costs 5 ms.
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import spec_from_file_location

    stem = os.path.splitext(os.path.basename(file))[0]
    known = sys.modules.get(stem)
    if known and os.path.realpath(getattr(known, "__file__", None) or "") == os.path.realpath(file):
        return known
    # A script with the name of a loaded module must not replace it, and needs a name at which `pickle` finds it.
    name = next(name for name in other_names(stem) if name not in sys.modules)
    spec = spec_from_file_location(name, file)
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def other_names(stem):
    yield stem
    yield f"{stem}_script"
    yield from (f"{stem}_script{number}" for number in range(2, sys.maxsize))


def package_of(folder, root):
    """The names of the packages that hold a folder, outermost first, those below `root`. Their parent is put on the
    module path."""
    names = []
    while folder != root and folder.startswith(root + os.sep) and os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        names.insert(0, name)
    if not all(map(str.isidentifier, names)):
        return []
    if names and folder not in sys.path:
        sys.path.insert(0, folder)
    return names


def exports_of(module, root):
    """Exported functions by name, and names of classes: those in `__all__`, or public ones that the module binds by
    definition, assignment or decoration. What it only imports is not exported. Of an instance that `__all__` names, the
    methods are exported, as `instance/method`."""
    names = getattr(module, "__all__", None)
    found, classes, bound = {}, [], None
    for name, value in list(vars(module).items()):
        is_class = issubclass(type(value), type)
        if names is not None:
            offered = name in names and is_callable(value)
        elif name.startswith("_"):
            offered = False
        elif is_class or is_function(value) and value.__module__ == module.__name__:
            offered = value.__module__ == module.__name__
        elif is_callable(value):
            bound = names_bound_by(module) if bound is None else bound
            offered = name in bound and not is_application(value)
        else:
            offered = False
        if offered and is_class:
            classes.append(name)
        elif offered:
            found[name] = value
        elif names is not None and name in names and not is_class:
            found.update((f"{name}/{method}", bound) for method, bound in methods_of(value, root).items())
    return found, classes


def methods_of(value, root):
    """The public methods of an instance of a class that the project itself defines, by name, those of its parent
    classes among them. What the instance has of a library is none of them."""
    found = {}
    for kind in type(value).__mro__ if not is_application(value) else ():
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if is_enum(value) or type(file) is not str or not is_own_file(file, root):
            continue
        for name, member in vars(kind).items():
            if not name.startswith("_") and type(member) in (FunctionType, staticmethod, classmethod):
                found.setdefault(name, getattr(value, name))
    return found


def is_own_file(file, root):
    """Whether a file is one of the project, not of its installed packages."""
    return file.startswith(root + os.sep) and "site-packages" not in file and PACKAGES[0] not in file


def names_bound_by(module):
    """The names that the module's own statements bind, other than imports."""
    from _symtable import DEF_IMPORT, symtable  # the C part of `symtable`, which imports more

    try:
        file = module.__spec__.loader.path
        symbols = symtable(module.__spec__.loader.get_data(file), file, "exec").symbols
    except Exception:  # not a module with source
        return ()
    return {name for name, flags in symbols.items() if flags & ~DEF_IMPORT & 2}  # 2: DEF_LOCAL, bound by a statement


def is_callable(value):
    """Whether it can be called as a function: types of annotations can be called, but are none."""
    try:
        hasattr(value, "__wrapped__")
        return callable(value) and type(value).__module__ not in ("typing", "typing_extensions", "types")
    except Exception:  # a proxy that raises on any access outside of a request
        return False


def is_application(value):
    """Whether it is an application of a web framework, which a server calls: WSGI or ASGI."""
    call = getattr(type(value), "__call__", None)
    code = getattr(call, "__code__", None)
    names = code.co_varnames[1 : code.co_argcount] if code else ()
    return names[:3] == ("scope", "receive", "send") or names[:2] == ("environ", "start_response")


def is_function(value):
    """Whether it is a function, or looks like one because of functools.wraps, as results of functools.lru_cache do."""
    if type(value) is FunctionType:
        return True
    try:
        return callable(value) and "__wrapped__" in value.__dict__
    except Exception:  # a proxy that raises on any access outside of a request
        return False


def load(deployment):
    """Loads every script and sends the metadata, or ends the worker with code 1."""
    global loading, deployment_name, app, asks_request, base_context, base_decimals, needs_main_thread
    loading, deployment_name = True, deployment["id"]
    root = os.path.normpath(deployment["path"])
    files = own_module("python_apps").scripts(deployment, root) if "app" in deployment else script_files(deployment)
    add_packages(root)
    for _, file, _ in files:
        stem = os.path.splitext(os.path.basename(file))[0]
        if stem in getattr(sys, "stdlib_module_names", ()):
            keep_standard(stem)
    sources = os.path.join(root, "src")  # where projects keep the packages that they install
    layout = [sources] if os.path.isdir(sources) else []
    for folder in dict.fromkeys([*layout, root, *(os.path.dirname(file) for _, file, _ in files)]):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    project.update(dict.fromkeys(file for _, file, _ in files))
    if any(is_fresh(file) for file in project):
        sys.dont_write_bytecode = True
    loaded, modules, strays = [], [], []  # (script, its name in addresses, exports), modules, (script, error)
    for script, file, is_optional in files:
        try:
            modules.append(load_script(file, root))
            exports = exports_of(modules[-1], root)
            loaded.append((script, os.path.splitext(os.path.relpath(file, root))[0], *exports))
        except BaseException as error:
            if not is_optional or not is_stray(error):
                fail_load(script, error, is_optional)
            strays.append((script, error))
    if "app" in deployment or "handler" in deployment or any(map(has_app_name, modules)):
        try:
            app = own_module("python_apps").find(deployment, modules)
        except BaseException as error:
            fail_load(deployment.get("app") or files[0][0], error, False)
    if app:
        loaded = app.named_exports(loaded, modules)
    handles = add_functions(loaded)
    if app:
        app.add(functions, handles)
    if strays and not functions:
        fail_load(*strays[0], True)
    if binding and binding.needs_texts:
        keep_digits()
    if "decimal" in sys.modules:
        base_decimals = sys.modules["decimal"].getcontext()
    base_context = copy_context()
    is_async = {func["name"] for handle in handles for func in handle["scope"]["funcs"] if func["async"]}
    if concurrency > 1:
        plain = {name: entry[0] for name, entry in functions.items() if name not in is_async}
        if app:
            plain.update(app.reached())
        reason = plain and own_module("python_main_thread").reason(root, modules, plain)
        if reason:
            needs_main_thread = frozenset(plain)
            sys.stderr.write(f"metagate: plain functions run on the main thread, one after another: {reason}\n")
    if app:
        try:
            app.start()
        except BaseException as error:
            fail_load(app.script, error, False)
    accepts = ["names", "files"]
    asks_request = (
        bool(app)
        or "metagate" in sys.modules
        or "opentelemetry.trace" in sys.modules
        or mentions_metagate(modules, root)
    )
    if asks_request:
        accepts += ["request", "cancel", "timeout"]
    metadata = {"status": "ready", "prefix": "", "suffix": deployment["id"], "version": "v1", "accepts": accepts}
    warnings = [left_out(script, error) for script, error in strays]
    if app and "app" not in deployment:
        warnings += app.warnings()  # whoever names the application knows
    metadata.update(packages={"py": handles}, ports=[], warnings=warnings)
    write(message_line("GetApplicationMetadata", metadata))
    retired.clear()
    if is_async:
        start_loop()  # after the metadata is written: importing asyncio takes 35 ms


def has_app_name(module):
    names = vars(module)
    return "app" in names or "application" in names


def mentions_metagate(scripts, root):
    """Whether a script or a module of the project may import `metagate` later, inside of a function."""
    for module in {id(module): module for module in [*scripts, *list(sys.modules.values())]}.values():
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.startswith(root + os.sep) or "site-packages" in file:
            continue
        if file.startswith(os.path.join(root, *PACKAGES)):
            continue
        try:
            with open(file, "rb") as source:
                if b"metagate" in source.read():
                    return True
        except OSError:
            pass
    return False


def script_files(deployment):
    """(script, file, whether the release may serve without it) of each Python script of the release."""
    files = []
    for entry in deployment["jsons"]:
        if entry["language_id"] not in ("py", "python"):
            language = entry["language_id"]
            sys.stderr.write(f"metagate: ignored scripts of language {language!r}: this worker runs python\n")
            continue
        folder = os.path.join(deployment["path"], entry.get("path") or ".")
        is_choice = bool(entry.get("found")) and len(entry["scripts"]) > 1
        for script in entry["scripts"]:
            is_optional = is_choice and os.path.splitext(script)[0] not in MAIN_SCRIPTS
            files.append((script, os.path.normpath(os.path.join(folder, script)), is_optional))
    return files


def add_functions(loaded):
    """Adds the exports of the scripts to the functions. Returns the handles of the metadata. A name that several
    scripts export means none of their functions: each of them is called by the names of its script and its own."""
    owners = {}  # name → the functions of that name
    for _, _, found, _ in loaded:
        for name, function in found.items():
            same = owners.setdefault(name, [])
            if not any(function is other for other in same):
                same.append(function)
    handles, described, methods = [], {}, {}  # methods of instances: name → those with it
    for script, module, found, classes in loaded:
        funcs = []
        for name, function in found.items():
            full = f"{module}/{name}"
            own = name if len(owners[name]) == 1 else full
            if own not in functions:
                functions[own] = (function, *prepare(own, function))
                described[own] = describe_function(own, function)
                funcs.append(described[own])
            if own != full and len(loaded) > 1:
                described[own].setdefault("aliases", []).append(full)
            method = name.rpartition("/")[2]
            if method != name and method not in owners:
                methods.setdefault(method, set()).add(own)
        listed = [{"name": name} for name in classes]
        scope = {"name": "global_namespace", "funcs": funcs, "classes": listed, "objects": []}
        handles.append({"name": script, "scope": scope})
    for method, (own, *others) in methods.items():
        if not others:
            described[own].setdefault("aliases", []).append(method)
    return handles


def is_stray(error):
    """Whether a script did not load for a reason that scripts have that are no part of the deployment: it is a program
    that ends by itself, or needs a module that is not installed."""
    return type(error) in (ModuleNotFoundError, SystemExit)


def left_out(script, error):
    why = "it ends by itself" if type(error) is SystemExit else f"{error}{missing_module(error)}"
    return f"{script} is left out, because it does not load: {why}; {how_to_leave_out(script)}"


def how_to_leave_out(script):
    folder, name = os.path.split(script)
    renamed = os.path.join(folder, f"_{name}")
    return f"to leave out a script without functions to call, name it {renamed}, or list the others in a metacall.json"


def missing_module(error):
    """What to do about a module that is not found, or nothing."""
    name = getattr(error, "name", None)
    if type(error) is not ModuleNotFoundError or type(name) is not str:
        return ""
    if name == "metacall":
        return ' (it is a part of the MetaCall runtime: set runtime = "metacall" for this deployment)'
    package = name.partition(".")[0]
    if package in sys.modules:
        return ""
    return f" (list its package in requirements.txt or pyproject.toml; without a deploy, pip install {package})"


def fail_load(script, error, is_optional):
    text = f"metagate: script {script} failed to load: {describe_error(error)['stack'].rstrip()}\n"
    hint = missing_module(error)
    if hint:
        text += f"metagate: {error}{hint}\n"
    if is_optional:
        text += f"metagate: {how_to_leave_out(script)}\n"
    sys.stderr.write(text)
    flush_output()
    os._exit(1)


def is_fresh(file):
    """Whether a script is so new that Python's cache could not tell it from a version written right after it."""
    try:
        return time() - os.stat(file).st_mtime < FRESH
    except OSError:
        return False  # loading it reports what is wrong


own_modules = {}  # modules of the worker's own that are loaded
own_modules_lock = threading.RLock()


def own_file(name):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")


def own_module(name):
    """A module of the worker's own, from the folder of this file; not every deployment needs each."""
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import spec_from_file_location

    with own_modules_lock:
        if name not in own_modules:
            spec = spec_from_file_location(name, own_file(name))
            module = module_from_spec(spec)
            module.worker = sys.modules[__name__]
            spec.loader.exec_module(module)
            own_modules[name] = module
        return own_modules[name]


def http():
    """The module of calls that have more than arguments and a JSON result."""
    return own_modules.get("python_http") or own_module("python_http")


def keep_standard(module):
    """Imports Python's own module before a script of the same name hides it: a `queue.py` must not break asyncio."""
    try:
        __import__(module)
    except Exception:
        pass  # a module of another platform: nothing here relies on it


# ---- Arguments -------------------------------------------------------------------------------------------------------

ANY_NUMBER = (0, float("inf"))
binders = {}  # name → how the arguments of its calls become its own; None if its signature is not known
binding = None  # the module `python_binding`


def prepare(name, function):
    """The fewest and most arguments of a call by order, and whether the arguments are converted."""
    is_plain = type(function) is FunctionType and not hasattr(function, "__wrapped__")
    if is_plain and not hasattr(function, "__signature__") and not has_types(function):
        code = function.__code__
        if code.co_kwonlyargcount > len(function.__kwdefaults__ or ()):
            return float("inf"), 0, False  # some are given by name only
        fewest = code.co_argcount - len(function.__defaults__ or ())
        return fewest, float("inf") if code.co_flags & VARARGS else code.co_argcount, False
    binder = binder_of(name, function)
    if binder is None:
        return (*ANY_NUMBER, False)
    return (*(ANY_NUMBER if binder.is_decorated else (binder.fewest(), binder.most())), binder.is_typed)


def has_types(function):
    try:
        return bool(function.__annotations__.keys() - {"return"})
    except Exception:  # annotations that raise when they are evaluated
        return False


def binder_of(name, function):
    """The binder of a function, or None if its signature cannot be read."""
    global binding
    if name in binders:
        return binders[name]
    if binding is None:
        binding = own_module("python_binding")
    try:
        binder = binding.Binder(name, function)
    except Exception:  # not a Python function, or one with annotations that raise
        binder = None
    binders[name] = binder
    return binder


def bind(call, function, args):
    """The positional and the keyword arguments of a call."""
    binder = binder_of(call["name"], function)
    if binder is None:
        return args, {}
    return binder.bind(args, call.get("names"), call.get("text") is True or call.get("numbers"))


def fits_not(error, function):
    """Whether a decorated function was not run, because the arguments that it got do not fit it."""
    inner = binding.unwrapped(function) if binding else function
    code, frames = getattr(inner, "__code__", None), error.__traceback__
    if code is None or inner is function or type(error) is not TypeError:
        return False
    if "argument" not in str(error) or f"{inner.__name__}()" not in str(error):
        return False
    while frames:
        if frames.tb_frame.f_code is code:
            return False
        frames = frames.tb_next
    return True


# ---- Calling ---------------------------------------------------------------------------------------------------------


def describe_error(error):
    """A raised error as the protocol's error, without frames of the worker. It must not raise."""
    frames = error.__traceback__
    while frames and is_own_code(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    try:
        message = str(error) + (limit_hint(error) or thread_hint(error) or shadow_hint(error))
    except Exception:
        message = ""
    try:
        import traceback  # it cannot be read while the function has every descriptor open

        stack = "".join(traceback.format_exception(type(error), error, frames)).rstrip()
    except Exception:
        stack = f"{type(error).__name__}: {message}"
    return {"name": type(error).__name__, "message": message, "stack": stack}


def limit_hint(error):
    """The setting whose limit an error of the system is about."""
    import errno

    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    place = last.tb_frame.f_code.co_name if last else ""
    limit = None
    if isinstance(error, OSError):
        limit = {errno.EMFILE: "max_files", errno.EFBIG: "max_file_size"}.get(error.errno)
        if error.errno == errno.EAGAIN and place in STARTS_OF_PROCESSES:
            limit = "max_processes"
    elif isinstance(error, RuntimeError) and place == "start" and last.tb_frame.f_globals is vars(threading):
        limit = "max_processes"
    return f" (limit of this deployment: {limit})" if limit else ""


THREAD_ERRORS = (  # parts of messages that say that an object or a function belongs to another thread
    "only works in main thread",
    "can only be used in that same thread",
    "no current event loop in thread",
    "event loop is already running",
    "bound to a different event loop",
    "'_thread._local' object has no attribute",
)


def thread_hint(error):
    """The setting that helps against an error that comes of running functions on several threads."""
    if concurrency == 1 or needs_main_thread or not any(part in str(error) for part in THREAD_ERRORS):
        return ""
    return " (functions run on several threads: with `concurrency = 1` plain ones run on the main thread)"


def shadow_hint(error):
    """The script of the release that is imported in place of an installed package of its name."""
    if isinstance(error, AttributeError):
        name = getattr(getattr(error, "obj", None), "__name__", None)
    else:
        name = error.name if isinstance(error, ImportError) else None
    name = name.partition(".")[0] if type(name) is str else None
    file = getattr(sys.modules.get(name), "__file__", None)
    if file not in project:
        return ""
    from _frozen_importlib_external import PathFinder

    others = [path for path in sys.path if path not in map(os.path.dirname, project)]
    if PathFinder.find_spec(name, others) is None:
        return ""
    script = os.path.basename(file)
    return f" ({script} of this deployment is imported instead of the package {name}: rename the script)"


def is_own_code(file):
    return file.startswith(OWN_FOLDER) or "importlib._bootstrap" in file


OWN_FOLDER = os.path.join(os.path.dirname(__file__), "")


class InvalidCall(Exception):
    """A call without a usable name or arguments."""


class FunctionNotFound(Exception):
    """A call of a function that was not loaded."""


def message_line(kind, data):
    """Half of a surrogate pair is no text for the gateway: one in an error, such as a file's name, becomes a `?`."""
    line = f'{{"type":"{kind}","data":{"".join(encoder(None)(data, 0))}}}\n'
    return line if line.isascii() else line.encode("utf-8", "replace").decode("utf-8")


max_message = float("inf")  # bytes of a line that the gateway reads


class ResultTooLarge(Exception):
    """A result that is longer than a message may be."""


def size(line):
    """Bytes of a line, or a number that is small enough: a character has four bytes at most."""
    return 0 if len(line) * 4 <= max_message else len(line.encode("utf-8", "backslashreplace"))


def result_line(call_id, value):
    line = f'{{"type":"FunctionInvokeResult","data":{{"id":{quote(call_id)},"result":{render(value)}}}}}\n'
    if size(line) > max_message:
        raise ResultTooLarge(
            f"the result has {size(line)} bytes, more than the deployment's max_message of {max_message} bytes"
        )
    return line


STATUS_ATTRIBUTES = ("status", "status_code", "statusCode", "get_response")  # the last one: of Werkzeug's errors


def error_line(call_id, error, function=None):
    if type(error) is ResultTooLarge:
        described = {"name": "ResultTooLarge", "message": str(error), "kind": "result_too_large"}
    elif binding and type(error) is binding.BadArgument:
        described = error.metagate_error()
    elif function and fits_not(error, function):
        described = binding.BadArgument(str(error)).metagate_error()
    else:
        described = describe_error(error)
        try:
            if any(hasattr(error, name) for name in STATUS_ATTRIBUTES):
                http().add_status(described, error)
        except Exception:  # an object that raises when it is looked at; no descriptor left to load the module with
            pass
    line = message_line("FunctionInvokeError", {"id": call_id, "error": described})
    if size(line) > max_message:
        length = int(min(ERROR_LENGTH, max_message // 40))
        described = {key: text[:length] if isinstance(text, str) else text for key, text in described.items()}
        described.pop("payload", None)
        line = message_line("FunctionInvokeError", {"id": call_id, "error": described})
    return line


def perform(call):
    """Runs one call. Returns the line that answers it, or None if the event loop will answer it."""
    call_id, function = call["id"], None
    try:
        name, args = call.get("name"), call.get("args")
        known = functions.get(name) if type(name) is str else None
        if args is None:
            args = ()
        if known is None or type(args) not in (list, tuple):
            raise fault_of(name)
        function, fewest, most, converts = known
        context = base_context.copy()
        if len(call) > 3 and ("request" in call or "body" in call):
            args = http().begin(call, args, context)
        if converts or "names" in call or not fewest <= len(args) <= most:
            args, keywords = bind(call, function, args)
        else:
            keywords = {}
        if base_decimals:
            context.run(own_decimals)
        result = context.run(function, *args, **keywords)
        if channel.fd < 0:
            leave_child(0)
        if type(result) not in PLAIN_RESULTS:
            if hasattr(result, "__await__"):
                start_loop()
                arriving.append((call_id, result, context))
                return None
            if is_answer(type(result)):
                return http().answer(call_id, result, context)
        line = result_line(call_id, result)
    except BaseException as error:  # includes SystemExit and KeyboardInterrupt raised by a function
        if channel.fd < 0:
            leave_child(error.code if isinstance(error, SystemExit) else error)
        line = error_line(call_id, error, function)
    if running:
        http().forget(call_id)
    return line


current_call = ContextVar("metagate_call", default=None)  # the call, if it has the member `request`
running = {}  # calls with that member by id, until they are answered
# Classes of results that are whole answers of HTTP, by module and name.
ANSWERS = {
    ("metagate", "Response"),
    ("python_streams", "Answered"),
    ("python_streams", "Steps"),
    ("python_streams", "Whole"),
    ("starlette.responses", "Response"),
    ("werkzeug.wrappers.response", "Response"),
    ("django.http.response", "HttpResponseBase"),
}


def is_answer(kind):
    """Whether results of a type are streams or whole answers of HTTP."""
    if hasattr(kind, "__next__") or hasattr(kind, "__aiter__") or hasattr(kind, "__anext__"):
        return True
    return any((base.__module__, base.__qualname__) in ANSWERS for base in kind.__mro__)


def leave_child(code):
    """Ends a process that a function has forked and in which it returned: the calls are its parent's."""
    if isinstance(code, BaseException):
        sys.excepthook(type(code), code, code.__traceback__)
        code = 1
    flush_output()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


base_context = None  # in which the scripts were imported; each call runs in a copy
base_decimals = None  # the settings of `decimal` there, if the scripts have imported it: a context holds a reference


def own_decimals():
    sys.modules["decimal"].setcontext(base_decimals.copy())


def fault_of(name):
    """Why a call cannot be run, as an error without a traceback."""
    if type(name) is not str:
        return InvalidCall("name is not a string")
    if name in functions:
        return InvalidCall("args is not an array")
    return FunctionNotFound(f"no function {quote(name)}")


# Awaitables: the leader puts them on `arriving` and wakes the loop once per chunk of messages. The loop writes once per
# round of its own.
loop = None
loop_lock = threading.Lock()
arriving = deque()
admitting = []  # holds an item from the wake-up until the loop begins to empty `arriving`
tasks = {}  # the loop's tasks by call id; asyncio itself holds weak references only
settled = []  # the answers of this round of the loop


def start_loop():
    global loop
    if loop:
        return
    with loop_lock:
        if loop:
            return
        import asyncio

        loop = asyncio.new_event_loop()
        loop.set_exception_handler(task_failed)
        if "metagate" in sys.modules:
            http().keep_context(loop)
        if loop_is_on_main_thread():
            main_jobs.put(LOOP)
        else:
            threading.Thread(target=run_loop, name="metagate-loop", daemon=True).start()


def loop_is_on_main_thread():
    return concurrency > 1 and not needs_main_thread


def run_loop():
    while not ended:
        try:
            loop.run_forever()
        except BaseException as error:  # SystemExit in a task that a function has left running
            sys.stderr.write(f"metagate: in a background task: {describe_error(error)['stack']}\n")
            retire(error)


# Errors outside calls may have left the worker in any state.
retired = [True]  # without an item the worker may ask to be replaced: after the load, and once
print_thread_error = threading.excepthook


def thread_failed(args):
    print_thread_error(args)
    if args.exc_type is not SystemExit:
        retire(args.exc_value)


def task_failed(own_loop, context):
    own_loop.default_exception_handler(context)
    if context.get("exception") is not None:
        # This may run inside of any code, when the garbage collector finds a task whose error nothing has read.
        own_loop.call_soon_threadsafe(retire, context["exception"])


def retire(error):
    if retired:
        return
    retired.append(True)
    described = describe_error(error)
    reason = f"an error outside a call: {described['name']}: {described['message'][:200]}"
    write(message_line("Retire", {"reason": reason}))


def wake_loop():
    if arriving and not admitting:
        admitting.append(True)
        loop.call_soon_threadsafe(admit)


def admit():
    admitting.clear()  # before emptying, so that an item that is added from now on wakes the loop again
    while arriving:
        call_id, awaitable, context = arriving.popleft()
        tasks[call_id] = task = context.run(loop.create_task, settle(call_id, awaitable))
        task.add_done_callback(lambda task, call_id=call_id: answer_cancelled(task, call_id))


def answer_cancelled(task, call_id):
    """Answers a call whose task was cancelled before its first step, by a function that cancels all tasks."""
    if tasks.get(call_id) is task:
        del tasks[call_id]
        error = sys.modules["asyncio"].CancelledError("the call was cancelled before it ran")
        write_answers(error_line(call_id, error))


async def settle(call_id, awaitable):
    try:
        result = await awaitable
        if type(result) not in PLAIN_RESULTS and is_answer(type(result)):
            line = await http().answer_later(call_id, result)
        else:
            line = result_line(call_id, result)
    except BaseException as error:
        line = error_line(call_id, error)
    del tasks[call_id]
    if running:
        running.pop(call_id, None)
    if line:
        write_soon(line)


def write_soon(line):
    """Writes an answer at the end of this round of the loop."""
    if not settled:
        loop.call_soon(write_settled)
    settled.append(line)


def write_settled():
    text = "".join(settled)
    settled.clear()
    write_answers(text)


# ---- Channel: leader, followers, monitor -----------------------------------------------------------------------------


LEAD = "lead"  # a job of a follower; any other is a call
LOOP, ANSWER_PROBE, END = "loop", "probe", "end"  # jobs of the main thread; any other is a call or a function


class Channel:
    """The socket, and the state that passes from leader to leader."""

    fd = -1
    leader = 0  # the thread that leads
    rest = b""  # the start of a line whose end has not arrived
    messages = iter(())  # messages of the current chunk that are not handled yet
    answers = []  # lines not yet written
    ticket = []  # the current leader's: holds the call that it runs
    gone = False  # a write has failed: the gateway does not read any more


class Follower:
    """A thread that may lead or run a slow call; `lock` is released to wake it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.lock.acquire()
        self.job = None  # LEAD or a call

    def wake(self, job):
        self.job = job
        self.lock.release()

    def follow(self):
        while True:
            self.lock.acquire()
            job, self.job = self.job, None
            try:
                lead() if job is LEAD else perform_slow(job)
            except BaseException:  # without a leader the worker would hang
                fail_thread()
            job = None  # its arguments may be large
            idle.append(self)


def fail_thread():
    """Ends the worker after a fault of its own, Ctrl-C, or an error of a signal's handler that came after its call."""
    sys.excepthook(*sys.exc_info())
    flush_output()
    os._exit(1)


def run_main_thread():
    """What the main thread does: it leads until the scripts are loaded, or for good, and then does its own jobs."""
    try:
        lead()
        while True:
            job = main_jobs.get()
            if job is END:
                return
            elif job is LOOP:
                run_loop()
            elif job is ANSWER_PROBE:
                answer_probe()
            elif type(job) is dict:
                deliver(perform(job))
            else:
                job()
            job = None  # its arguments may be large
    except BaseException:
        fail_thread()


channel = Channel()
write_lock = threading.Lock()
concurrency = 1  # calls in flight that the gateway sends
needs_main_thread = frozenset()  # names of the plain functions, if the main thread must run them
main_jobs = SimpleQueue()
ended = False  # the channel has ended, and with it the last call
followers = []
idle = []  # followers that wait for a job
pool_lock = threading.Lock()
pool_limit = 0  # of followers
slow = set()  # names of functions whose last call took long
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
            channel.gone = True  # the leader finds the end of the channel when it reads next


def write_answers(text):
    flush_output()  # what functions printed is in the log before their answers come
    write(text)


def flush():
    if channel.answers:
        text = "".join(channel.answers)
        channel.answers.clear()
        write_answers(text)
    if arriving:
        wake_loop()


class Decoding:
    """How the C scanner of `json` reads JSON: by the standard, without Python's NaN and Infinity."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(text):
        raise ValueError(f"{text} is not JSON")


scan = make_scanner(Decoding)


def keep_digits():
    """From now on, calls have the texts of numbers of more digits than a float has, for types that keep them."""
    global scan
    Decoding.parse_float = binding.read_float
    scan = make_scanner(Decoding)


def add_texts(messages):
    texts = binding.take_texts()
    for message in messages:
        call = call_of(message)
        if call is not None:
            call["numbers"] = texts


BLANK = " \t\r"


def parse(text):
    """The messages of some whole lines: one scan for all of them or, if that fails, line by line."""
    try:
        return scan_lines(text)
    except (StopIteration, ValueError, RecursionError, SystemError):
        # Before Python 3.13 the C scanner finds its exception in this module, which it does not import itself. Without
        # the module it raises SystemError. From here on it raises ValueError.
        import json.decoder  # noqa: F401

        return [message for line in text.split("\n") for message in parse_line(line)]


def scan_lines(text):
    """The messages of lines, as one JSON array. Raises an error unless there is one message for each line."""
    array = "[" + text.replace("\n", ",") + "]"
    messages, end = scan(array, 0)
    if end != len(array) or len(messages) != text.count("\n") + 1:
        raise ValueError("not one JSON value")
    if binding and binding.long_numbers:
        add_texts(messages)
    return messages


def parse_line(line):
    """A list with the message, or an empty one for a line that is not JSON. Such a line is answered if it is a call."""
    try:
        return scan_lines(line)
    except (StopIteration, ValueError, RecursionError) as error:
        refuse(line, error)
        return []


def refuse(line, error):
    # Imported here: the gateway sends such lines only when arguments nest too deeply.
    import re

    # The start of a call as the gateway writes it. It finds the id in a line that is not JSON, such as one with NaN.
    call = re.match(r'\{"type":"CallFunction","data":\{"id":"([^"\\\x00-\x1f]*)"', line)
    if call:
        write(error_line(call[1], InvalidCall(f"the call cannot be read: {error}")))
    elif line.strip(BLANK):
        ignore(line, "not JSON")


def ignore(line, why):
    sys.stderr.write(f"metagate: ignored a line of the channel: {why}: {line[:200]!r}\n")


HTTP_MESSAGES = ("CancelCall", "StreamCredit", "BodyData", "BodyEnd", "BodyError")


def handle(message):
    """Handles a message that is not a call that can be answered."""
    if type(message) is not dict:
        return ignore(repr(message), "not an object")
    kind, data = message.get("type"), message.get("data")
    if kind == "Probe":
        main_jobs.put(ANSWER_PROBE) if needs_main_thread else answer_probe()
    elif kind == "CallFunction":
        ignore(repr(message), "a call without an id")
    elif kind in HTTP_MESSAGES:
        if type(data) is dict and type(data.get("id")) is str and "python_http" in own_modules:
            try:
                http().receive(kind, data)
            except Exception as error:
                ignore(repr(message), error)
    elif kind == "LoadFunctions" and not loading:
        if is_load(data):
            load(data)
        else:
            ignore(repr(message), "not the data of LoadFunctions")


def answer_probe():
    write('{"type":"ProbeResult"}\n')


def is_load(data):
    def is_text(value):
        return type(value) is str

    def is_entry(entry):
        if type(entry) is not dict or not is_text(entry.get("language_id")):
            return False
        path, scripts = entry.get("path"), entry.get("scripts")
        return (path is None or is_text(path)) and type(scripts) is list and all(map(is_text, scripts))

    if type(data) is not dict or not is_text(data.get("id")) or not is_text(data.get("path")):
        return False
    if not is_text(data.get("app", "")) or not is_text(data.get("handler", "")):
        return False
    return type(data.get("jsons")) is list and all(map(is_entry, data["jsons"]))


def call_of(message):
    """The call of a message, or None if the message is not a call that can be answered."""
    if type(message) is not dict or message.get("type") != "CallFunction":
        return None
    call = message.get("data")
    return call if type(call) is dict and type(call.get("id")) is str else None


def receive():
    """Waits for the messages of the next whole lines; None at the end of the channel."""
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
    """Reads and runs calls until the channel ends or another thread gets the lead: from the main thread when the
    scripts are loaded, from others by the monitor."""
    ticket = []
    channel.leader = threading.get_ident()  # before the ticket: release_lead looks at both
    channel.ticket = ticket
    answers = channel.answers
    flush_at = monotonic() + HOLD
    while True:
        for message in channel.messages:
            call = call_of(message)
            if call is None:
                handle(message)
                if pool_limit == 0 and loading and concurrency > 1:
                    return leave_main_thread()
                continue
            if needs_main_thread and is_in(call.get("name"), needs_main_thread):
                register(call)
                main_jobs.put(call)
                continue
            if slow and is_in(call.get("name"), slow) and give_away(call):
                continue
            register(call)  # another thread may take the lead before the call has begun
            ticket.append(call)
            if parked:
                wake_monitor()
            line = perform(call)
            try:
                ticket.pop()
            except IndexError:  # the monitor has taken the lead
                return deliver(line)
            if line:
                answers.append(line)
            if monotonic() > flush_at:
                flush()
                flush_at = monotonic() + HOLD
        flush()
        messages = receive()
        if messages is None:
            return end()
        channel.messages = iter(messages)
        flush_at = monotonic() + HOLD


def leave_main_thread():
    """Gives the lead of the main thread to a follower."""
    global pool_limit
    pool_limit = 1 if needs_main_thread else concurrency + 1  # one more, to read while all of them run a call
    follower = spare_follower()
    if follower is None:
        raise RuntimeError("the system allows no further thread (max_processes?); `concurrency = 1` needs none")
    if not needs_main_thread:
        sys.setswitchinterval(SWITCH_INTERVAL)
        threading.Thread(target=monitor, name="metagate-monitor", daemon=True).start()
    flush()
    follower.wake(LEAD)


def is_in(name, names):
    return type(name) is str and name in names


def give_away(call):
    follower = spare_follower()
    if follower:
        register(call)
        follower.wake(call)
    return follower


def register(call):
    """Makes a call known that another thread will run: messages about it may come before it runs."""
    if len(call) > 3 and "request" in call:
        http().register(call)


def release_lead():
    """Gives the lead away within a call that waits for messages about itself. With METAGATE_CONCURRENCY at 1 the main
    thread never leads again."""
    global pool_limit, needs_main_thread
    if channel.leader != threading.get_ident() or not channel.ticket:
        return
    if concurrency == 1:
        needs_main_thread = frozenset(functions)
        pool_limit = 1
    follower = spare_follower()
    if follower is None:
        raise RuntimeError("the system allows no further thread (max_processes?)")
    try:
        channel.ticket.pop()
    except IndexError:  # the monitor has taken the lead
        idle.append(follower)
        return
    flush()
    follower.wake(LEAD)


def perform_slow(call):
    start = monotonic()
    line = perform(call)
    if monotonic() - start < QUICK:
        slow.discard(call["name"])
    deliver(line)


def deliver(line):
    """Answers a call outside of the leader's batch."""
    if line:
        write_answers(line)
    else:
        wake_loop()


def spare_follower():
    """An idle follower or a new one; None if there are as many as the calls in flight need."""
    try:
        return idle.pop()
    except IndexError:
        pass
    with pool_lock:
        if len(followers) >= pool_limit:
            return None
        follower = Follower()
        try:
            threading.Thread(target=follower.follow, name=f"metagate-{len(followers) + 1}", daemon=True).start()
        except RuntimeError:  # the system's limit of threads
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
            pass  # the leader has popped it, and rings
    bell.acquire()


def take_over(call):
    follower = spare_follower()
    if follower is None:
        return
    try:
        channel.ticket.pop()
    except IndexError:  # the call has ended in the meantime
        idle.append(follower)
        return
    if type(call.get("name")) is str:
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
    """Lets running calls finish after the end of the channel, then ends the main thread: exit handlers of users run."""
    global ended
    import atexit

    flush_output()
    if "python_http" in own_modules:
        http().end()
    others = len(followers) - (threading.current_thread() is not threading.main_thread())
    try:
        threading.Thread(target=end_late, daemon=True).start()
    except RuntimeError:
        atexit._run_exitfuncs()
        os._exit(0)
    while len(idle) < others or tasks or arriving or settled:
        sleep(0.005)
    atexit.register(take_exit)  # the last handler runs first
    ended = True
    main_jobs.put(END)
    if loop:
        loop.call_soon_threadsafe(loop.stop)


exits = [True]  # whoever takes the item runs the exit handlers


def take_exit():
    try:
        return exits.pop()
    except IndexError:
        return False


def end_late():
    """Ends the worker if calls or threads of users outlast the grace; exit handlers run here then."""
    sleep(GRACE)
    if take_exit():
        import atexit

        atexit._run_exitfuncs()
        flush_output()
        os._exit(0)


# ---- Start -----------------------------------------------------------------------------------------------------------


def forget_channel():
    """Closes the channel in a forked child: it belongs to the parent. Other threads, which may have held locks while
    the process was forked, do not exist in the child."""
    global write_lock, pool_lock, loop_lock
    write_lock, pool_lock, loop_lock = threading.Lock(), threading.Lock(), threading.Lock()
    if channel.fd >= 0:
        os.close(channel.fd)
        channel.fd = -1


def main():
    global concurrency, max_message
    channel.fd = int(os.environ.pop("METAGATE_CHANNEL_FD", "3"))
    os.set_inheritable(channel.fd, False)
    os.set_blocking(channel.fd, True)
    os.register_at_fork(after_in_child=forget_channel)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    threading.excepthook = thread_failed
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    prepare_imports()
    longest = os.environ.pop("METAGATE_MAX_MESSAGE", None)
    max_message = int(longest) if longest else max_message
    concurrency = int(os.environ.pop("METAGATE_CONCURRENCY", "1"))
    run_main_thread()


if __name__ == "__main__":
    main()
