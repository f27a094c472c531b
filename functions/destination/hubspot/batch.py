"""What every destination in Python would write the same way: events one by one, requests within limits, answers by status.

`app.py` beside it has what is particular to the tool.
"""

import json
from typing import Any, Callable, Iterator

from tidegate import Plan, PluginError, Response

Event = dict[str, Any]
# An event's place in the batch, and what the tool gets of it.
Entry = tuple[int, Any]


class Skip(Exception):
    """The event does not apply here and is left out."""


def records(events: list[Any], plan: Plan, record: Callable[[Event], Any]) -> list[Entry]:
    """The tool's record of each event. `record` raises Skip, or PluginError to have one event in quarantine."""
    made = []
    for place, event in enumerate(events):
        try:
            if not isinstance(event, dict):
                raise PluginError("not-an-object", "the event is no JSON object")
            made.append((place, record(event)))
        except Skip as reason:
            plan.skip(place, str(reason))
        except PluginError as error:
            plan.fail(place, error.code, error.message)
        except Exception as error:
            plan.fail(place, "exception", f"{type(error).__name__}: {error}")
    return made


def fields(value: Any) -> dict[str, Any]:
    """A map as it is, and an empty one for anything else: clients send what they like."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The same for lists."""
    return value if isinstance(value, list) else []


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def chunks(entries: list[Entry], count: int, size: int) -> Iterator[list[Entry]]:
    """Runs of at most `count` entries whose JSON has at most `size` bytes."""
    chunk, used = [], 0
    for entry in entries:
        length = len(dumps(entry[1]).encode()) + 1
        if chunk and (len(chunk) == count or used + length > size):
            yield chunk
            chunk, used = [], 0
        chunk.append(entry)
        used += length
    if chunk:
        yield chunk


def answer(response: Response) -> dict[str, Any]:
    """The body of an answer as a map; an empty one when it is no JSON."""
    try:
        value = response.json()
    except ValueError:
        value = None
    return fields(value)


def by_status(response: Response) -> Any:
    """What the status alone means, for what a tool does not say more precisely."""
    status = response.status
    said = {"message": f"answered {status}: {response.text[:200]}"}
    if 200 <= status < 300:
        return "delivered"
    if status in (408, 429) or status >= 500:
        seconds = response.headers.get("retry-after", "")
        return {"retry": min(int(seconds) * 1000, 0xFFFFFFFF) if seconds.isdecimal() and len(seconds) < 10 else None}
    if status in (401, 403):
        return {"disable": {"code": "unauthorized", **said}}
    return {"rejected": {"code": "too-large" if status == 413 else "refused", **said}}


def partial(verdicts: list[tuple[int, bool]]) -> Any:
    """Events and whether to retry them; all others were delivered."""
    return {"partial": verdicts} if verdicts else "delivered"
