"""A bare Litestar application that answers JSON with the same JSON, under the uvicorn settings of our own api.

python -m bench.peers.echo PORT
"""

import sys
from typing import Any

import uvicorn
from litestar import Litestar, post

from api.__main__ import BACKLOG, KEEP_ALIVE_S


@post("/echo", status_code=200)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


def main() -> None:
    uvicorn.run(
        Litestar([echo], openapi_config=None, logging_config=None),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG,
    )


if __name__ == "__main__":
    main()
