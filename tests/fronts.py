"""A proxy in front of a server of ours: where it is, and what comes through it."""

import json
import os
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from running import wait_until

# Most proxies choose no free port themselves; nobody else has this address.
HOST = f"127.{os.getpid() >> 16 & 63 | 64}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
PORT = 8079
# Another than a proxy has, when it connects to a server.
CLIENT = "127.0.0.9"
# The whole of a configuration of nginx, without the daemon.
MAIN = """
daemon off;
master_process off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ text/html html; text/plain txt; }}
    {included}
}}
"""
JSON = ("--access-log-format", "json")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    fields: dict[str, str]
    body: bytes


def ask(target: str, **fields: str) -> Answer:
    """Ask the proxy for *target*, with fields by their names in snake case."""
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    address = (CLIENT, 0)
    with closing(HTTPConnection(HOST, PORT, timeout=20, source_address=address)) as to:
        to.request("GET", target, headers=names)
        answer = to.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read())


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a JSON log."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def line_of(log: Path, target: str, status: int = 200) -> dict[str, Any]:
    """Wait for the line of a request, and return it."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found.extend(
            line
            for line in lines_of(log)
            if (line["target"], line["status"]) == (target, status)
        )
        return bool(found)

    wait_until(is_there, f"{target} with {status}")
    return found[-1]
