"""Forbids the process that imports it every way to another machine, by an audit hook, which nothing can take off again.

What was tried is also written down in the file that the environment names, since a library may swallow the error.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

RECORD = "BRAINTUMORSEG_TEST_NETWORK"
_FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 — every Python process of a test reads this
_INTERNET = (socket.AF_INET, socket.AF_INET6)
# Events whose second argument is an address; names are asked of another machine, too.
_SENDING = ("socket.connect", "socket.sendto", "socket.sendmsg")
_OURS = ("", "localhost", socket.gethostname())
_ASKING = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class NetworkError(RuntimeError):
    """A test wanted to reach another machine: no OSError, which would pass for a network that is down."""


def _is_here(host: Any) -> bool:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    if name in _OURS:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    tried = ""
    if event in _SENDING:
        link, address = arguments[:2]
        if link.family in _INTERNET and isinstance(address, tuple) and not _is_here(address[0]):
            tried = f"{event} to {address[0]}"
    elif event in _ASKING:
        if not _is_here(arguments[0]):
            tried = f"{event} of {arguments[0]!r}"
    elif event == "subprocess.Popen":
        environment = os.environ if arguments[3] is None else arguments[3]
        if _FOLDER not in os.fsdecode(environment.get("PYTHONPATH") or "").split(os.pathsep):
            tried = f"a process without {_FOLDER} on its PYTHONPATH, {arguments[1]!r:.200}"
    if tried:
        if record := os.environ.get(RECORD):
            with open(record, "a", encoding="utf-8") as file:  # noqa: PTH123
                file.write(f"{tried}\n")
        raise NetworkError(f"No test reaches the internet, or starts what could: {tried}.")


sys.addaudithook(_guard)
