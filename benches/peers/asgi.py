"""The Python function as a bare ASGI application: JSON body in, its values as arguments, JSON out.

No framework, no routing, no checks: less than any real service does, so that the comparison favours the peer.
"""

import json

from main import sum  # functions/python/main.py, put on the path by compare.py


async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    answer = json.dumps(sum(*json.loads(body).values())).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
