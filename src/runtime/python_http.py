"""What calls have beyond arguments and a JSON result: the request, bodies of bytes and files, answers with a status and
headers of their own, errors with a status, and the messages about calls that are under way. python.py imports it at
the first call, result or error that needs it; `worker` is that script.
"""

from binascii import a2b_base64, b2a_base64
from time import monotonic

LEAST_STATUS, MOST_STATUS = 400, 599  # of errors

streams = {}  # what sends the answer of a call piece by piece, by call id
bodies = {}  # the bodies of requests that arrive piece by piece, by call id
at_end = []  # functions for the end of the channel
has_ended = False

# ---- The call --------------------------------------------------------------------------------------------------------


def register(call):
    """Makes a call known to later messages. May be called twice."""
    if call["id"] in worker.running or type(call["request"]) is not dict:
        return
    worker.running[call["id"]] = call
    if type(call.get("timeout")) is int:
        call["deadline"] = monotonic() + call["timeout"] / 1000
    args = call.get("args")
    if type(args) is list and args and type(args[0]) is dict and args[0].get("stream") is True:
        bodies[call["id"]] = worker.own_module("python_bodies").Body(call["id"])


def begin(call, args, context):
    """Prepares the context of a call. Returns its arguments."""
    if "request" in call:
        register(call)
        context.run(worker.current_call.set, call)
        if "opentelemetry.trace" in worker.sys.modules:
            join_trace(call, context)
        if worker.app and not worker.app.runner.is_async:
            call["context"] = context  # for steps after the function has returned; it takes it away
    body = call.get("body")
    if body == "bytes" and len(args) == 1 and type(args[0]) is str:
        return [a2b_base64(args[0])]
    if body == "multipart":
        return [files_of(value) for value in args]
    return args


def join_trace(call, context):
    """Makes the `traceparent` of a call the parent of the spans that OpenTelemetry makes in its context."""
    from opentelemetry.context import attach
    from opentelemetry.propagate import extract

    request, args = call["request"], call.get("args")
    headers = request.get("headers") if type(request) is dict else None
    if headers is None and type(args) is list and len(args) > 1:
        headers = args[1]  # of a whole request
    try:
        context.run(attach, extract(dict(headers or ())))
    except Exception as error:  # spans without a parent are better than no call
        worker.sys.stderr.write(f"metagate: the trace of a call is not continued: {error!r}\n")


def files_of(value):
    """A value of a multipart body, with files in place of their descriptions."""
    if type(value) is list:
        return [files_of(item) for item in value]
    return metagate().File._described(value) if type(value) is dict else value


def metagate():
    """The module that functions import, even where the project has one of its name."""
    import sys

    module = sys.modules.get("metagate")
    return module if hasattr(module, "_worker") else worker.own_module("python_metagate")


def receive(kind, data):
    """A message about a call. Runs on the thread that reads the channel; late messages have no effect."""
    call_id = data["id"]
    if kind == "CancelCall":
        cancel(call_id)
    elif kind == "StreamCredit":
        stream = streams.get(call_id)
        if stream and type(data.get("bytes")) is int and data["bytes"] > 0:
            stream.add_credit(data["bytes"])
    elif call_id in bodies:
        bodies[call_id].receive(kind, data)


def cancel(call_id):
    call = worker.running.get(call_id)
    if call:
        call["cancelled"] = True
        if "event" in call:
            call["event"].set()
    body = bodies.get(call_id)
    if body:
        body.fail("the caller has left")
    stream = streams.get(call_id)
    if stream:
        stream.cancel()
    elif worker.loop:
        worker.wake_loop()  # the call may still wait to become a task
        worker.loop.call_soon_threadsafe(cancel_task, call_id)


def is_cancelled(call_id):
    """Whether a stream that begins has nobody to read it."""
    call = worker.running.get(call_id)
    return has_ended or bool(call and call.get("cancelled"))


def cancel_task(call_id):
    task = worker.tasks.get(call_id)
    stream = streams.get(call_id)
    if stream:
        stream.cancel()
    elif task:
        task.cancel()


def forget(call_id):
    """Drops what is known of a call that is answered."""
    streams.pop(call_id, None)
    bodies.pop(call_id, None)
    worker.running.pop(call_id, None)


def end():
    """The channel has ended: streams end too, because no credit will come."""
    global has_ended
    has_ended = True
    for body in list(bodies.values()):
        body.fail("the gateway has ended")
    for stream in list(streams.values()):
        if hasattr(stream, "run_later"):
            worker.tasks[stream] = None  # the worker waits for it
        stream.cancel()
    for function in at_end:
        function()


def keep_context(loop):
    """Lets functions that the loop runs in threads know the request, as those of asyncio.to_thread do."""
    from contextvars import copy_context

    run = loop.run_in_executor

    def run_in_executor(executor, function, *args):
        if executor is not None and type(executor).__name__ == "ProcessPoolExecutor":
            return run(executor, function, *args)
        return run(executor, copy_context().run, function, *args)

    loop.run_in_executor = run_in_executor


# ---- Answers ---------------------------------------------------------------------------------------------------------


def answer(call_id, result, context):
    """Answers a call with a stream or a whole answer of HTTP that a plain function has returned. Returns the line of
    the answer, or None if it comes later."""
    if type(result).__module__ == "python_streams" and type(result).__name__ != "Whole":
        return result.go_on()
    awaitable = framework_answer(call_id, result)
    if awaitable is None:
        response, body = context.run(split, result)
        if is_whole(body):
            forget(call_id)
            return response_line(call_id, response, body)
        if not hasattr(body, "__anext__"):
            worker.own_module("python_streams").Steps(call_id, context, body, response).start()
            return None
        awaitable = worker.own_module("python_streams").send_all(call_id, body, response)
    worker.start_loop()
    worker.arriving.append((call_id, awaitable, context))
    return None


async def answer_later(call_id, result):
    """The same for the result of an awaitable."""
    if type(result).__name__ == "Answered":
        return None
    awaitable = framework_answer(call_id, result)
    if awaitable is None:
        response, body = split(result)
        if is_whole(body):
            forget(call_id)
            return response_line(call_id, response, body)
        streams = worker.own_module("python_streams")
        if not hasattr(body, "__anext__"):
            # It stays a call that runs until the iterator has ended.
            return await streams.Steps(call_id, worker.copy_context(), body, response).run_to_end()
        awaitable = streams.send_all(call_id, body, response)
    await awaitable
    return None


def framework_answer(call_id, result):
    """An awaitable that sends a response of Starlette's, which is an ASGI application; None for other results."""
    if not any(base.__module__ == "starlette.responses" for base in type(result).__mro__):
        return None
    return worker.own_module("python_asgi").respond(call_id, result)


def split(result):
    """The status and headers of a result, or None for a stream of items, and its body: whole, or an iterator."""
    kind = type(result)
    modules = {base.__module__ for base in kind.__mro__}
    if "werkzeug.wrappers.response" in modules:
        response = {"status": result.status_code, "headers": [list(pair) for pair in result.headers]}
        return response, result.get_data() if result.is_sequence else iterator(result.iter_encoded())
    if "django.http.response" in modules:
        headers = [*result.items(), *(("Set-Cookie", cookie.OutputString()) for cookie in result.cookies.values())]
        response = {"status": result.status_code, "headers": [[name, str(value)] for name, value in headers]}
        return response, iterator(result.streaming_content) if result.streaming else result.content
    if hasattr(kind, "_split") and modules & {"metagate", "python_streams"}:
        return result._split()
    return None, iterator(result)


def iterator(value):
    """An iterator, asynchronous if the value is iterated so."""
    return value.__aiter__() if hasattr(type(value), "__aiter__") else value if is_async(value) else iter(value)


def is_async(value):
    return hasattr(type(value), "__anext__")


def is_whole(body):
    return body is None or isinstance(body, (str, bytes, bytearray, memoryview))


def response_line(call_id, response, body):
    if isinstance(body, str):
        response = {**response, "body": body}
    elif body:
        response = {**response, **text_or_base64(bytes(body), "body")}
    line = worker.message_line("FunctionInvokeResult", {"id": call_id, "response": response})
    if worker.size(line) > worker.max_message:
        raise worker.ResultTooLarge(
            f"the answer has {worker.size(line)} bytes, more than the deployment's max_message of "
            f"{worker.max_message} bytes"
        )
    return line


def text_or_base64(data, name):
    """Bytes as a member of a message: text is shorter and costs less, but only ASCII can be cut anywhere."""
    if data.isascii() and b"\0" not in data:
        return {name: str(data, "ascii")}
    return {"base64": str(b2a_base64(data, newline=False), "ascii")}


def bytes_of(data, name):
    """The bytes of a member of a message that is text or base64."""
    text = data.get(name)
    if type(text) is str:
        return text.encode("utf-8", "surrogatepass")
    return a2b_base64(data["base64"]) if type(data.get("base64")) is str else b""


# ---- Errors ----------------------------------------------------------------------------------------------------------


def add_status(described, error):
    """Adds the status that an error names, with its message, headers and value, to the protocol's error."""
    modules = {base.__module__ for base in type(error).__mro__}
    status = status_of(error, modules)
    if status is None:
        return
    described["status"] = status
    message = getattr(error, "description" if "werkzeug.exceptions" in modules else "detail", None)
    if isinstance(message, str) and message:
        described["message"] = message
    elif "starlette.exceptions" in modules:
        from http import HTTPStatus

        described["message"] = HTTPStatus(status).phrase
        described["payload"] = worker.scan(worker.render(message), 0)[0]
    headers = getattr(error, "headers", None)
    if headers:
        pairs = headers.items() if hasattr(headers, "items") else headers
        described["headers"] = [[str(name), str(value)] for name, value in pairs]


def status_of(error, modules):
    """The status of an error's own; one of an answer that a function has got from another server is none."""
    if "urllib.error" in modules:
        return None
    names = ["status", "statusCode", "status_code"]
    if "werkzeug.exceptions" in modules:
        names.append("code")
    for name in names:
        status = getattr(error, name, None)
        if isinstance(status, int) and LEAST_STATUS <= status <= MOST_STATUS:
            return int(status)
    return None
