"""Events to requests within a tool's limits, and answers to verdicts."""

import datetime as _datetime
import json as _json
import re as _re
from typing import Any, Callable, Iterator, NamedTuple, Optional, Union

from .errors import caught
from .host import Event, PluginError, RetryBatch, dumps_for_host, has_infinite

# "delivered", "reauthenticate", {"retry": milliseconds or None}, {"rejected": {"code", "message"}},
# {"partial": [(event, retry)]}, {"disable": {"code", "message"}} or {"bisect": {"code", "message"}}.
Verdict = Union[str, dict[str, Any]]


class Request:
    """One HTTP request of a plan; `body` is text, bytes, or anything that becomes JSON."""

    def __init__(self, url: str, body: Any = b"", events: Any = (), method: str = "post",
                 headers: Optional[dict[str, str]] = None, tag: str = "") -> None:
        self.url, self.body, self.events, self.method = url, body, list(events), method
        self.headers, self.tag = headers or {}, tag


class Plan:
    """Which requests deliver a batch; every event is in a request, skipped with a reason, or failed."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.skipped: list[tuple[int, str]] = []
        self.failed: list[tuple[int, str, str]] = []

    def send(self, url: str, body: Any, events: Any, **more: Any) -> None:
        """Adds a request that carries `events`."""
        self.requests.append(Request(url, body, events, **more))

    def skip(self, event: int, reason: str) -> None:
        """Leaves an event out on purpose."""
        self.skipped.append((event, reason))

    def fail(self, event: int, code: str, message: str) -> None:
        """Puts one event into quarantine."""
        self.failed.append((event, code, message))


class Response:
    """What came back for one request. `headers` have names in lower case, `now_ms` is when it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, attempt: int = 1, now_ms: int = 0) -> None:
        self.status, self.headers, self.body, self.attempt, self.now_ms = status, headers, body, attempt, now_ms

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises ValueError when it is none."""
        return _json.loads(self.body)

    def answer(self) -> Optional[dict[str, Any]]:
        """The body as a JSON object; None when it is none."""
        try:
            found = self.json()
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def is_of_proxy(self) -> bool:
        """Whether a 403 or 404 comes from a proxy or firewall on the way: the tool's own have a JSON object for a body."""
        return self.status in (403, 404) and self.answer() is None


class Skip(Exception):
    """The event does not apply here and is left out; the text is the reason."""


class Entry(NamedTuple):
    """What the tool gets of some events of the batch, nearly always of one."""

    events: list[int]
    record: Any


def events_of(entries: list[Entry]) -> list[int]:
    """The events of the batch that `entries` stand for: what a request that sends them carries."""
    return [event for entry in entries for event in entry.events]


def records(events: list[Event], plan: Plan, record: Callable[[Event], Any]) -> list[Entry]:
    """The tool's record of each event. `record` raises Skip, or PluginError to have one event in quarantine.

    Whatever else it raises, and a record that is no JSON, costs that one event and no other.
    """
    made = []
    for index, event in enumerate(events):
        try:
            if not isinstance(event, dict):
                raise PluginError("not-an-object", "the event is no JSON object")
            # The record may change the event.
            is_infinite = has_infinite(event)
            found = record(event)
            check_json(found, is_infinite)
            made.append(Entry([index], found))
        except Skip as reason:
            plan.skip(index, str(reason))
        except RetryBatch:
            raise
        except Exception as error:
            plan.fail(index, *caught(error))
    return made


def check_json(value: Any, is_infinite: bool) -> None:
    try:
        dumps_for_host(value, lambda: is_infinite)
    except (ValueError, TypeError) as error:
        raise PluginError("not-json", f"what the tool would get is no JSON: {error}") from None


def byte_length(value: Any) -> int:
    """How many bytes `value` has as JSON in UTF-8."""
    return len(dumps_for_host(value, lambda: True).encode())


def chunks(entries: list[Entry], plan: Plan, count_max: int, bytes_max: int) -> Iterator[list[Entry]]:
    """Runs of at most `count_max` entries whose records, with the commas between them, have at most `bytes_max` bytes.

    An entry that is larger alone fails with the code `too-large`.
    """
    chunk: list[Entry] = []
    used = 0
    for entry in entries:
        size = byte_length(entry.record)
        if size > bytes_max:
            for event in entry.events:
                plan.fail(event, "too-large", f"the tool takes {bytes_max} bytes; this event has {size}")
            continue
        if chunk and (len(chunk) == count_max or used + 1 + size > bytes_max):
            yield chunk
            chunk, used = [], 0
        used += size + (1 if chunk else 0)
        chunk.append(entry)
    if chunk:
        yield chunk


# Answers that may be better later: timed out, too early, locked, too many requests.
_LATER = (408, 423, 425, 429)
_HTTP_DATE = _re.compile(r"\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", _re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RETRY_MS_MAX = 0xFFFFFFFF


def retry_after(response: Response) -> Optional[int]:
    """Milliseconds that `Retry-After` asks to wait, given as seconds or as a date; None when it says nothing readable."""
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdecimal():
        return min(int(said[:12]) * 1000, _RETRY_MS_MAX)
    found = _HTTP_DATE.fullmatch(said)
    if found is None or found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[at]) for at in (1, 3, 4, 5, 6))
    try:
        at = _datetime.datetime(year, _MONTHS.index(found[2]) + 1, day, hour, minute, second)
    except ValueError:
        return None
    ms = (at - _datetime.datetime(1970, 1, 1)) // _datetime.timedelta(milliseconds=1)
    return min(max(ms - response.now_ms, 0), _RETRY_MS_MAX)


def bisect(code: str, message: str) -> Verdict:
    """The tool refused a whole request, took nothing of it and names nobody.

    The host sends the events again in halves, at once; an event that is refused alone goes to quarantine with this code.
    """
    return {"bisect": {"code": code, "message": message}}


def partial(events: list[int], rejected: Any = (), again: Any = ()) -> Verdict:
    """Some events of a request are rejected, some tried again; the others of `events` were delivered."""
    marked = [(event, event not in rejected) for event in events if event in rejected or event in again]
    return {"partial": marked} if marked else "delivered"


def classify_by_status(tag: str, events: list[int], response: Response) -> Verdict:
    """What most HTTP interfaces mean.

    2xx delivered; 401 sign in again; 408, 423, 425, 429 and 5xx later, as `Retry-After` says; a 403 or 404 whose body is
    no JSON comes from a proxy on the way and is tried later; anything else refuses the request (see `bisect`).
    """
    status = response.status
    if 200 <= status < 300:
        return "delivered"
    if status == 401:
        return "reauthenticate"
    if status in _LATER or status >= 500 or response.is_of_proxy():
        return {"retry": retry_after(response)}
    return bisect(f"http-{status}", response.text[:500])


def classify_deletion(tag: str, events: list[int], response: Response) -> Verdict:
    """What the answer to a deletion means.

    A 404 in JSON says that the tool has nobody of that name, so that nothing is left to delete; 401, and a 403 in JSON, that
    the key may not delete. Anything else is read by its status.
    """
    if response.status == 404 and not response.is_of_proxy():
        return "delivered"
    if response.status == 401 or (response.status == 403 and not response.is_of_proxy()):
        return {"disable": {"code": "unauthorized", "message": f"answered {response.status}: {response.text[:300]}"}}
    return classify_by_status(tag, events, response)
