"""Serves a Lambda handler: a whole request becomes an event of API Gateway's HTTP API, format 2.0, and the result an
answer. Format: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import os
import sys
import threading
from base64 import b64decode, b64encode
from time import gmtime, strftime, time
from urllib.parse import parse_qsl, unquote

TEXT, JSON = "text/plain; charset=utf-8", "application/json"
NO_DEADLINE = 30_000  # milliseconds left, if the gateway has named no deadline


class Runner:
    is_async = False
    http_takes = True  # `http` in the metadata

    def __init__(self, handler):
        self.handler = handler

    def http(self, request, headers):
        call = worker.current_call.get()
        call.pop("context", None)
        body = worker.http().bytes_of(request, "body")
        ensure_loop()
        result = self.handler(event_of(call["request"], request, headers, body), Context(call))
        return finish(result) if hasattr(result, "__await__") else answer_of(result)


async def finish(awaitable):
    return answer_of(await awaitable)


threads = threading.local()


def ensure_loop():
    """Gives this thread an event loop of its own, which handlers such as Mangum's take for granted."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or hasattr(threads, "loop"):
        return
    threads.loop = asyncio.new_event_loop()
    asyncio.set_event_loop(threads.loop)


def event_of(about, request, headers, body):
    path, _, query = request["uri"].partition("?")
    joined, cookies = {}, []
    for name, value in headers:
        name = name.lower()
        if name == "cookie":
            cookies += [one.strip() for one in value.split(";") if one.strip()]
        else:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
    host, now = about.get("host") or joined.get("host") or "localhost", time()
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "metagate",
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": request["method"],
                "path": unquote(path),
                "protocol": "HTTP/1.1",
                "sourceIp": about.get("client") or "",
                "userAgent": joined.get("user-agent", ""),
            },
            "requestId": about.get("id"),
            "routeKey": "$default",
            "stage": "$default",
            "time": strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if about.get("context"):
        event["requestContext"]["authorizer"] = {"lambda": about["context"]}
    if cookies:
        event["cookies"] = cookies
    if query:
        parameters = event["queryStringParameters"] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    if body:
        try:
            event["body"] = body.decode()
        except UnicodeDecodeError:
            event.update(body=b64encode(body).decode(), isBase64Encoded=True)
    return event


class Context:
    """The second argument of a handler."""

    function_version = "$LATEST"
    memory_limit_in_mb = "0"
    identity = client_context = None

    def __init__(self, call):
        self.call = call
        self.aws_request_id = call["request"].get("id")
        self.function_name = worker.deployment_name
        self.invoked_function_arn = f"arn:aws:lambda:local:000000000000:function:{self.function_name}"
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name = str(os.getpid())

    def get_remaining_time_in_millis(self):
        deadline = self.call.get("deadline")
        return NO_DEADLINE if deadline is None else max(0, int((deadline - worker.monotonic()) * 1000))


def answer_of(result):
    """The answer of a handler's result: with a `statusCode` it is a whole one, else JSON."""
    whole = worker.own_module("python_streams").Whole
    if not isinstance(result, dict) or "statusCode" not in result:
        return whole({"status": 200, "headers": [["content-type", JSON]]}, worker.render(result))
    headers = [[name, text_of(value)] for name, value in (result.get("headers") or {}).items()]
    several = result.get("multiValueHeaders") or {}
    headers = [pair for pair in headers if pair[0] not in several]
    headers += [[name, text_of(value)] for name, values in several.items() for value in values]
    cookies = result.get("cookies") or []
    if isinstance(cookies, str):
        cookies = [cookies]  # a text alone is one cookie
    if not isinstance(cookies, (list, tuple)):
        raise TypeError('"cookies" of the result is no list of texts')
    headers += [["set-cookie", text_of(cookie)] for cookie in cookies]
    body = result.get("body")
    if body is not None and not isinstance(body, (str, bytes)):
        body = worker.render(body)
    if body and result.get("isBase64Encoded"):
        body = b64decode("".join(body.split()) if isinstance(body, str) else body, validate=True)
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(["content-type", TEXT])
    return whole({"status": int(result["statusCode"]), "headers": headers}, body)


def text_of(value):
    return value if isinstance(value, str) else worker.render(value)
