"""What a plugin in Python imports as `tidegate`, and what stands between it and the host.

The interpreter is CPython without files, network, threads or clock.
"""

import json as _json
import sys as _sys
from typing import Any, Callable, Iterator, NamedTuple, Optional, Union

Event = dict[str, Any]


class Keep:
    """The outcome of an event that stays as it is."""


class Drop:
    """The outcome of an event that is filtered on purpose."""

    def __init__(self, reason: str) -> None:
        self.reason = _text(reason, "the reason of drop()")


class Fail:
    """The outcome of an event that goes to quarantine."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = _text(code, "the code of fail()"), str(message)


keep = Keep()
drop = Drop
fail = Fail
Result = Union[Event, list[Event], Keep, Drop, Fail, None]


class PluginError(Exception):
    """Raise it in `configure` to refuse settings, or anywhere to fail one event with a code of your own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = _text(code, "the code of PluginError"), str(message)


class RetryBatch(Exception):
    """Raise it to have the whole batch tried again later."""

    def __init__(self, message: str, after_ms: Optional[int] = None) -> None:
        super().__init__(message)
        self.after_ms = after_ms


class Context:
    """What is the same for all events of a batch, and the same on replay."""

    def __init__(self, settings: dict[str, Any], now_ms: int, seed: int) -> None:
        self.settings, self.now_ms, self.seed = settings, now_ms, seed


# What the host lends; filled in by the entry module before any event arrives.
_lent: dict[str, Any] = {}
_settings: dict[str, Any] = {}
_said: set[str] = set()


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {type(value).__name__}, not text")
    return value


def log(message: Any, level: str = "info") -> None:
    """Writes a line to the log of this plugin: debug, info, warn or error."""
    host = _lent["host"]
    host.log(host.Level[level.upper()], str(message))


def count(name: str, delta: int = 1) -> None:
    """Adds to a counter of this plugin."""
    _lent["host"].count(name, delta)


def lookup(table: str, key: str) -> Any:
    """The entry for `key` in a table that the manifest names under `lookups`; None when there is none."""
    entry = _lent["lookup"].get(table, key)
    return None if entry is None else _json.loads(entry)


def sign(algorithm: str, secret: str, data: Union[str, bytes]) -> bytes:
    """HMAC of `data` under the secret called `secret`; the plugin never sees the secret."""
    secrets = _lent["secrets"]
    data = data.encode() if isinstance(data, str) else data
    return secrets.sign(secrets.Mac[f"HMAC_{algorithm.upper()}"], secrets.MacKey_Named(secret), data)


class Path:
    """A JSON pointer for the fields world, such as "/properties/email". Make it once, at the top of the file."""

    def __init__(self, pointer: str) -> None:
        # The host would trap on it, at the first event; this says so while the plugin is built.
        if not _text(pointer, "a pointer").startswith("/"):
            raise ValueError(f'{pointer!r} is no JSON pointer; write "/properties/name"')
        self.pointer = pointer
        self._handle: Any = None

    @property
    def handle(self) -> Any:
        if self._handle is None:
            self._handle = _lent["fields"].Path(self.pointer)
        return self._handle


class Fields:
    """One event of the fields world."""

    def __init__(self, index: int) -> None:
        self._index = index

    def get_string(self, at: Path) -> Optional[str]:
        return at.handle.get_string(self._index)

    def get_number(self, at: Path) -> Optional[float]:
        return at.handle.get_number(self._index)

    def get_json(self, at: Path) -> Any:
        text = at.handle.get_json(self._index)
        return None if text is None else _json.loads(text)

    def has(self, at: Path) -> bool:
        return at.handle.has(self._index)

    def set(self, at: Path, value: Any) -> None:
        try:
            if isinstance(value, str):
                at.handle.set_string(self._index, value)
            else:
                at.handle.set_json(self._index, _dumps(value))
        except _lent["Err"] as refused:
            raise ValueError(f"{at.pointer} cannot be set: {refused.value}") from None

    def move(self, at: Path, to: Path) -> bool:
        """Moves whatever is there, without a copy; says whether anything was."""
        try:
            return at.handle.move_to(self._index, to.handle)
        except _lent["Err"] as refused:
            raise ValueError(f"{at.pointer} cannot be moved to {to.pointer}: {refused.value}") from None

    def remove(self, at: Path) -> None:
        at.handle.remove(self._index)


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
        self.requests.append(Request(url, body, events, **more))

    def skip(self, event: int, reason: str) -> None:
        self.skipped.append((event, reason))

    def fail(self, event: int, code: str, message: str) -> None:
        self.failed.append((event, code, message))


class Response:
    """What came back for one request."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, attempt: int) -> None:
        self.status, self.headers, self.body, self.attempt = status, headers, body, attempt

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        return _json.loads(self.body)


def classify_by_status(tag: str, events: list[int], response: Response) -> Any:
    """What most HTTP interfaces mean: 2xx delivered, 401 sign in again, 408, 425, 429 and 5xx later, all else never."""
    status = response.status
    if 200 <= status < 300:
        return "delivered"
    if status == 401:
        return "reauthenticate"
    if status in (408, 425, 429) or status >= 500:
        seconds = response.headers.get("retry-after", "")
        return {"retry": int(seconds) * 1000 if seconds.isdigit() else None}
    return {"rejected": {"code": f"http-{status}", "message": response.text[:500]}}


# --- what the entry module uses --------------------------------------------------------------------------------------


def _dumps(value: Any) -> str:
    return _json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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


def _caught(error: BaseException) -> tuple[str, str]:
    """Code and message for an exception; its traceback goes to the log once a batch."""
    if isinstance(error, PluginError):
        return error.code, error.message
    frames = [f for f in _frames(error) if not f.filename.endswith(("tidegate.py", "tidegate_entry.py"))]
    lines = [f"{type(error).__name__}: {error}"]
    lines += [f"    at {f.name} {_place(f)}" for f in reversed(frames)]
    whole = "\n".join(lines)
    if whole not in _said:
        _said.add(whole)
        for line in lines:
            log(line, "error")
    where = f" ({_place(frames[-1])})" if frames else ""
    return "python-exception", lines[0] + where


def _place(frame: Any) -> str:
    name = frame.filename
    for root in sorted(_sys.path, key=len, reverse=True):
        if root and name.startswith(root.rstrip("/") + "/"):
            return f"{name[len(root.rstrip('/')) + 1:]}:{frame.lineno}"
    return f"{name}:{frame.lineno}"


def _configure(plugin: Any, setup: Any, types: Any) -> None:
    global _settings
    _said.clear()
    _settings = _json.loads(setup.settings_json)
    configure: Optional[Callable[[dict[str, Any]], None]] = getattr(plugin, "configure", None)
    if configure is None:
        return
    try:
        configure(_settings)
    except Exception as error:
        code, message = _caught(error)
        raise _lent["Err"](types.PluginError(types.ErrorKind.INVALID_CONFIG, code, message)) from None


def _context() -> Context:
    host = _lent["host"]
    return Context(_settings, host.now_ms(), host.seed())


def _guarded(types: Any, work: Callable[[], Any]) -> Any:
    """A fault in a whole-batch function is a fault of the batch."""
    try:
        return work()
    except RetryBatch as error:
        said = types.PluginError(types.ErrorKind.INTERNAL, "retry", str(error))
        raise _lent["Err"](types.BatchError_Retryable((said, error.after_ms))) from None
    except Exception as error:
        code, message = _caught(error)
        said = types.PluginError(types.ErrorKind.INTERNAL, code, message)
        raise _lent["Err"](types.BatchError_Fatal(said)) from None


def _event(value: Any) -> str:
    if not isinstance(value, dict):
        raise TypeError(f"transform returned {type(value).__name__}, which is no event; return the event, a list of events, keep, drop() or fail()")
    return _dumps(value)


def _transform(plugin: Any, batch: list[str], types: Any, world: Any) -> list[Any]:
    def one(text: str, context: Context) -> Any:
        try:
            result = plugin.transform(_json.loads(text), context)
            if isinstance(result, Keep):
                return world.Outcome_Keep()
            if result is None:
                raise TypeError("transform returned None; did you forget `return`? Return the event, or drop(reason)")
            if isinstance(result, Drop):
                return world.Outcome_Drop(result.reason)
            if isinstance(result, Fail):
                return world.Outcome_Fail(types.PluginError(types.ErrorKind.INVALID_EVENT, result.code, result.message))
            if isinstance(result, list):
                return world.Outcome_Emit([_event(event) for event in result])
            return world.Outcome_Replace(_event(result))
        except RetryBatch:
            raise
        except Exception as error:
            code, message = _caught(error)
            return world.Outcome_Fail(types.PluginError(types.ErrorKind.INTERNAL, code, message))

    context = _context()
    return _guarded(types, lambda: [one(text, context) for text in batch])


def _edit(plugin: Any, events: int, types: Any) -> None:
    fields = _lent["fields"]

    def work() -> None:
        context = _context()
        for index in range(events):
            try:
                result = plugin.transform(Fields(index), context)
                if isinstance(result, Drop):
                    fields.drop_event(index, result.reason)
                elif isinstance(result, Fail):
                    fields.fail_event(index, result.code, result.message)
                elif result is not None and not isinstance(result, Keep):
                    raise TypeError(f"transform returned {type(result).__name__}; return nothing, drop() or fail()")
            except RetryBatch:
                raise
            except Exception as error:
                fields.fail_event(index, *_caught(error))

    _guarded(types, work)


def _prepare(plugin: Any, batch: list[str], types: Any, world: Any) -> Any:
    def number(event: Any, where: str) -> int:
        if not isinstance(event, int) or not 0 <= event < len(batch):
            raise TypeError(f"{where} names the event {event!r}; the batch has the events 0 to {len(batch) - 1}")
        return event

    def body(value: Any) -> bytes:
        if isinstance(value, bytes):
            return value
        return (value if isinstance(value, str) else _dumps(value)).encode()

    def request(made: Request) -> Any:
        return world.Request(
            method=world.Method[made.method.upper()], url=_text(made.url, "the url of a request"),
            headers=[(name, str(value)) for name, value in made.headers.items()], body=body(made.body),
            events=[number(event, "a request") for event in made.events], tag=made.tag)

    def work() -> Any:
        plan = plugin.prepare([_json.loads(text) for text in batch], _context())
        if not isinstance(plan, Plan):
            raise TypeError(f"prepare returned {type(plan).__name__}; return a tidegate.Plan")
        error = lambda code, message: types.PluginError(types.ErrorKind.INVALID_EVENT, code, message)
        return world.Plan(
            requests=[request(made) for made in plan.requests],
            skipped=[world.Skipped(number(event, "skip()"), reason) for event, reason in plan.skipped],
            failed=[world.Failed(number(event, "fail()"), error(code, message)) for event, code, message in plan.failed])

    return _guarded(types, work)


def _classify(plugin: Any, tag: str, events: list[int], response: Any, types: Any, world: Any) -> Any:
    def error(kind: Any, said: Any) -> Any:
        return types.PluginError(kind, _text(said.get("code"), "the code of a verdict"), str(said.get("message", "")))

    try:
        headers = {name.lower(): value for name, value in response.headers}
        seen = Response(response.status, headers, bytes(response.body), response.attempt)
        verdict = getattr(plugin, "classify", classify_by_status)(tag, list(events), seen)
        if verdict == "delivered":
            return world.Verdict_Delivered()
        if verdict == "reauthenticate":
            return world.Verdict_Reauthenticate()
        if verdict == "retry":
            return world.Verdict_Retry(None)
        if isinstance(verdict, dict) and len(verdict) == 1:
            (tag, value), = verdict.items()
            if tag == "retry":
                return world.Verdict_Retry(value)
            if tag == "rejected":
                return world.Verdict_Rejected(error(types.ErrorKind.INVALID_EVENT, value))
            if tag == "partial":
                return world.Verdict_Partial([(event, retry) for event, retry in value])
            if tag == "disable":
                return world.Verdict_Disable(error(types.ErrorKind.INVALID_CONFIG, value))
        raise TypeError(f"classify returned {verdict!r}; return 'delivered', 'reauthenticate', {{'retry': ms}}, {{'rejected': ..}}, {{'partial': ..}} or {{'disable': ..}}")
    except RetryBatch as asked:
        return world.Verdict_Retry(asked.after_ms)
    except Exception as caught:
        # It says neither that the events arrived nor that they did not: sending them again could double them.
        code, message = _caught(caught)
        return world.Verdict_Rejected(types.PluginError(types.ErrorKind.INTERNAL, code, message))
