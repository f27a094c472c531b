"""What an exception says to people: its code, its text, and the line of the author it came from."""

import json as _json
import sys as _sys
from typing import Iterator, NamedTuple

from . import host
from .host import PluginError

# Errors whose traceback is in the log already.
_logged: set[str] = set()


class _Frame(NamedTuple):
    filename: str
    lineno: int
    name: str


def _frames(error: BaseException) -> Iterator[_Frame]:
    """Where an exception came by. The module `traceback` would read the source files, and there are none."""
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        yield _Frame(code.co_filename, at.tb_lineno, code.co_name)
        at = at.tb_next


# A module knows its own place by the code in it. These are this package, and the standard library around `json`.
_OTHERS = (_frames.__code__.co_filename.rpartition("/")[0] + "/", _json.dumps.__code__.co_filename.rpartition("json/")[0])


def _is_authors(frame: _Frame) -> bool:
    return not frame.filename.startswith(_OTHERS) and not frame.filename.endswith("tidegate_entry.py")


def _place(frame: _Frame) -> str:
    name = frame.filename
    for root in sorted(_sys.path, key=len, reverse=True):
        if root and name.startswith(root.rstrip("/") + "/"):
            return f"{name[len(root.rstrip('/')) + 1:]}:{frame.lineno}"
    return f"{name}:{frame.lineno}"


def forget_logged() -> None:
    """A new batch begins: its errors are logged again."""
    _logged.clear()


def caught(error: BaseException) -> tuple[str, str]:
    """Code and message for an exception; its traceback goes to the log once a batch."""
    if isinstance(error, PluginError):
        return error.code, error.message
    authors = [frame for frame in _frames(error) if _is_authors(frame)]
    lines = [f"{type(error).__name__}: {error}"]
    lines += [f"    at {frame.name} {_place(frame)}" for frame in reversed(authors)]
    traceback = "\n".join(lines)
    if traceback not in _logged and "host" in host._given:
        _logged.add(traceback)
        for line in lines:
            host.log(line, "error")
    where = f" ({_place(authors[-1])})" if authors else ""
    return "python-exception", lines[0] + where
