"""Starlette's StaticFiles, for uvicorn and for granian."""

import os

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

app = Starlette(
    routes=[Mount("/", StaticFiles(directory=os.environ["BENCHMARK_ROOT"]))]
)
