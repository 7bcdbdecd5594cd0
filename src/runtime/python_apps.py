"""Applications of web frameworks and Lambda handlers: finds the one that a deployment serves, and runs it for whole
requests as the function `http`. ASGI, WSGI and Lambda have a module each."""

import os
import sys
from types import FunctionType, MethodType

NAMES = ("app", "application")
LAMBDA_NAMES = ("handler", "lambda_handler")
UNKNOWN = {"type": {"name": "", "id": 20}}


class App:
    """What a deployment serves: the runner has `http(request, headers)` and `is_async`, perhaps `start()`."""

    def __init__(self, target, runner, script):
        self.target, self.runner, self.script = target, runner, script

    def named_exports(self, loaded, modules):
        """The exports of the scripts that are functions to be called as well: those that `__all__` names."""
        kept, self.left = [], []
        routed = routed_by(self.target)
        self.views = {name: value for _, _, found, _ in loaded for name, value in found.items()}
        for (script, name, found, classes), module in zip(loaded, modules):
            is_named = getattr(module, "__all__", None) is not None
            own = {key: value for key, value in found.items() if is_named and value is not self.target}
            kept.append((script, name, own, classes if is_named else []))
            if not is_named:
                hidden = (key for key, value in found.items() if value is not self.target and id(value) not in routed)
                self.left += hidden
        return kept

    def warnings(self):
        """What the application hides."""
        if not self.left:
            return []
        names = ", ".join(self.left)
        names = names if len(names) <= 200 else f"{names[:200]}…"
        return [f"{self.script} exports a web app: functions are not called unless __all__ names them ({names})"]

    def add(self, functions, handles):
        """Adds the function `http`, also to the handle of its script."""
        functions["http"] = (self.runner.http, 0, float("inf"), False)
        signature = {"ret": UNKNOWN, "args": []}
        listed = {"name": "http", "http": self.runner.http_takes, "signature": signature, "async": self.runner.is_async}
        openapi = getattr(self.target, "openapi_url", None)  # of FastAPI: where its own document is
        if isinstance(openapi, str):
            listed["openapi"] = openapi
        handle = next((one for one in handles if os.path.basename(one["name"]) == self.script), None)
        if handle is None:
            scope = {"name": "global_namespace", "funcs": [], "classes": [], "objects": []}
            handle = {"name": self.script, "scope": scope}
            handles.append(handle)
        handle["scope"]["funcs"].append(listed)

    def reached(self):
        """The functions of the scripts that an application may call where plain functions run."""
        return {} if self.runner.is_async else {**self.views, "http": self.target}

    def start(self):
        if hasattr(self.runner, "start"):
            self.runner.start()


def routed_by(target):
    """The ids of the functions that an application of Flask, Starlette or FastAPI has as views."""
    views = getattr(target, "view_functions", None)
    routes = getattr(target, "routes", None)
    found = [*views.values()] if isinstance(views, dict) else []
    found += [getattr(route, "endpoint", None) for route in (routes if isinstance(routes, list) else [])]
    return set(map(id, found))


def scripts(deployment, root):
    """The scripts to load for an application that is named as `module:attribute`: those of a metacall.json, else only
    its own."""
    chosen = [entry for entry in deployment["jsons"] if not entry.get("found")]
    listed = worker.script_files({**deployment, "jsons": chosen})
    file = os.path.join(root, *module_name(deployment["app"]).split(".")) + ".py"
    if os.path.isfile(file) and not any(entry[1] == file for entry in listed):
        listed.append((os.path.relpath(file, root), file, False))
    return listed


def module_name(named):
    name = named.partition(":")[0]
    return (name[:-3] if name.endswith(".py") else name).replace("/", ".").strip(".")


def find(deployment, modules):
    """The application that a deployment serves, or None."""
    named, is_lambda = deployment.get("app"), deployment.get("handler") == "lambda"
    if deployment.get("handler") not in (None, "lambda"):
        raise ValueError(f"handler is {deployment['handler']!r}, not \"lambda\"")
    target, script = find_named(named, modules, is_lambda) if named else find_exported(modules, is_lambda)
    if is_lambda:
        if not callable(target):
            expected = named or " or ".join(LAMBDA_NAMES)
            raise TypeError(f"the deployment has handler = \"lambda\", but its scripts export no function {expected}")
        return App(target, worker.own_module("python_lambda").Runner(target), script)
    if target is None:
        return None
    kind = kind_of(target)
    if named and kind is None:
        raise TypeError(f"app = {named!r} is a {type(target).__name__}, not an application of ASGI or WSGI")
    return App(target, worker.own_module(f"python_{kind}").Runner(target), script)


def find_named(named, modules, is_lambda):
    name, attribute = module_name(named), named.partition(":")[2]
    module = next((one for one in modules if one.__name__ in (name, f"{name}_script")), None) or sys.modules.get(name)
    if module is None:
        __import__(name)
        module = sys.modules[name]
    target, is_factory = module, attribute.endswith("()")
    names = attribute.removesuffix("()").split(".") if attribute else ()
    for part in names:
        target = getattr(target, part)
    if not names:
        target, _ = find_exported([module], is_lambda)
        if target is None:
            raise AttributeError(f"module {name!r} has no application; name it: {name}:app")
    if not is_lambda and (is_factory or kind_of(target) is None and takes_nothing(target)):
        target = target()
    return target, os.path.basename(getattr(module, "__file__", None) or name)


def find_exported(modules, is_lambda):
    """The value of a well-known name, in the main script if several have one."""

    def order(module):
        name = module.__name__.rpartition(".")[2]
        return worker.MAIN_SCRIPTS.index(name) if name in worker.MAIN_SCRIPTS else len(worker.MAIN_SCRIPTS)

    for module in sorted(modules, key=order):
        for name in LAMBDA_NAMES if is_lambda else NAMES:
            value = vars(module).get(name)
            if callable(value) if is_lambda else kind_of(value, exactly=True):
                return value, os.path.basename(module.__file__)
    return None, None


def kind_of(value, exactly=False):
    """`asgi`, `wsgi` or None. `exactly` asks for the parameters' usual names, where nothing says that it is one."""
    if isinstance(value, type) or not callable(value):
        return None
    is_plain = isinstance(value, FunctionType)
    names = parameters(value if is_plain or isinstance(value, MethodType) else type(value).__call__)
    names = names if is_plain else names[1:]
    if names[:3] == ["scope", "receive", "send"]:
        return "asgi"
    if names[:2] == ["environ", "start_response"]:
        return "wsgi"
    if exactly:
        return None
    from inspect import signature

    try:
        bound = [one for one in signature(value).parameters.values() if one.default is one.empty and one.kind < 2]
    except (TypeError, ValueError):
        return None
    if len(bound) == 3:
        return "asgi"
    return "wsgi" if len(bound) == 2 else None


def parameters(function):
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    return list(code.co_varnames[: code.co_argcount]) if code else []


def takes_nothing(value):
    from inspect import signature

    try:
        return callable(value) and not any(
            one.default is one.empty and one.kind in (0, 1, 3) for one in signature(value).parameters.values()
        )
    except (TypeError, ValueError):
        return False
