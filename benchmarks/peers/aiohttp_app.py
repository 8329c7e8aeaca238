"""aiohttp's static files, without its access log."""

import asyncio
import sys

import uvloop
from aiohttp import web


def main(root: str, port: int, loop: str) -> None:
    app = web.Application()
    app.router.add_static("/", root)
    new_event_loop = {"asyncio": asyncio, "uvloop": uvloop}[loop].new_event_loop
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        keepalive_timeout=3600,
        loop=new_event_loop(),
    )


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
