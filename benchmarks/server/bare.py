"""The limit for an append over HTTP: a Starlette endpoint that parses the same body, and returns.

`python -m benchmarks.server.bare` serves it, and prints its address.
"""

import socket
import sys

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def parse(request: Request) -> Response:
    op = orjson.loads(await request.body())
    return Response(orjson.dumps({"op_id": op["op_id"]}), media_type="application/json")


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app = Starlette(routes=[Route("/v1/sessions/{session_id}/ops", parse, methods=["POST"])])
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()
