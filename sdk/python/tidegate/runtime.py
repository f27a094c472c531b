"""What stands between a plugin and the host. The entry module that the build writes is its only user."""

import json as _json
import sys
from typing import Any, Callable, Optional, TypeVar

from . import host
from .delivery import Plan, Request, Response, classify_by_status, classify_deletion
from .errors import caught, forget_logged
from .host import Context, Drop, Fail, Fields, Keep, RetryBatch, dumps_for_host, has_infinite, text, whole

# Python reads no whole number of more than 4,300 digits otherwise. The host bounds the time of a batch.
if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)

_T = TypeVar("_T")
_settings: dict[str, Any] = {}


def give(**services: Any) -> None:
    """Hands over the interfaces of the host."""
    host._given.update(services)


def configure(plugin: Any, setup: Any, types: Any) -> None:
    """Reads the settings, and lets the plugin refuse them."""
    global _settings
    forget_logged()
    _settings = _json.loads(setup.settings_json)
    wanted: Optional[Callable[[dict[str, Any]], None]] = getattr(plugin, "configure", None)
    if wanted is None:
        return
    try:
        wanted(_settings)
    except Exception as error:
        code, message = caught(error)
        raise host._given["Err"](types.PluginError(types.ErrorKind.INVALID_CONFIG, code, message)) from None


def _context() -> Context:
    given = host._given["host"]
    return Context(_settings, given.now_ms(), given.seed())


def _whole_batch(types: Any, work: Callable[[], _T]) -> _T:
    """A fault in a whole-batch function is a fault of the batch."""
    try:
        return work()
    except RetryBatch as error:
        said = types.PluginError(types.ErrorKind.INTERNAL, "retry", str(error))
        raise host._given["Err"](types.BatchError_Retryable((said, error.after_ms))) from None
    except Exception as error:
        code, message = caught(error)
        said = types.PluginError(types.ErrorKind.INTERNAL, code, message)
        raise host._given["Err"](types.BatchError_Fatal(said)) from None


def _event_text(value: Any, given: str) -> str:
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise TypeError(f"transform returned {kind}, which is no event; "
                        "return the event, a list of events, keep, drop() or fail()")
    return dumps_for_host(value, lambda: has_infinite(_json.loads(given)))


def transform(plugin: Any, batch: list[str], types: Any, world: Any) -> list[Any]:
    """One outcome for each event. An exception fails its own event and no other."""

    def outcome(event: str, context: Context) -> Any:
        try:
            result = plugin.transform(_json.loads(event), context)
            if isinstance(result, Keep):
                return world.Outcome_Keep()
            if result is None:
                raise TypeError("transform returned None; did you forget `return`? Return the event, or drop(reason)")
            if isinstance(result, Drop):
                return world.Outcome_Drop(result.reason)
            if isinstance(result, Fail):
                return world.Outcome_Fail(types.PluginError(types.ErrorKind.INVALID_EVENT, result.code, result.message))
            if isinstance(result, list):
                return world.Outcome_Emit([_event_text(made, event) for made in result])
            return world.Outcome_Replace(_event_text(result, event))
        except RetryBatch:
            raise
        except Exception as error:
            code, message = caught(error)
            return world.Outcome_Fail(types.PluginError(types.ErrorKind.INTERNAL, code, message))

    context = _context()
    return _whole_batch(types, lambda: [outcome(event, context) for event in batch])


def edit(plugin: Any, events: int, types: Any) -> None:
    """Lets the plugin edit each event in place."""
    fields = host._given["fields"]

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
                fields.fail_event(index, *caught(error))

    _whole_batch(types, work)


def prepare(plugin: Any, batch: list[str], types: Any, world: Any) -> Any:
    """The plan of a destination, checked."""
    return _planned(plugin.prepare, batch, types, world)


def prepare_forget(plugin: Any, people: list[str], types: Any, world: Any) -> Any:
    """The same for people whom the tool is to forget."""
    return _planned(plugin.forget, people, types, world)


def _planned(prepare_batch: Callable[[list[Any], Context], Any], batch: list[str], types: Any, world: Any) -> Any:

    def index(event: Any, where: str) -> int:
        if not isinstance(event, int) or not 0 <= event < len(batch):
            raise TypeError(f"{where} names the event {event!r}; the batch has the events 0 to {len(batch) - 1}")
        return event

    def body(value: Any) -> bytes:
        if isinstance(value, bytes):
            return value
        return (value if isinstance(value, str) else dumps_for_host(value, lambda: any(has_infinite(_json.loads(event)) for event in batch))).encode()

    def request(made: Request) -> Any:
        return world.Request(
            method=world.Method[text(made.method, "the method of a request").upper()],
            url=text(made.url, "the url of a request"),
            headers=[(text(name, "a header's name"), str(value)) for name, value in made.headers.items()],
            body=body(made.body),
            events=[index(event, "a request") for event in made.events],
            tag=text(made.tag, "the tag of a request"))

    def error(code: Any, message: Any) -> Any:
        return types.PluginError(types.ErrorKind.INVALID_EVENT, text(code, "the code of Plan.fail()"), str(message))

    def work() -> Any:
        plan = prepare_batch([_json.loads(event) for event in batch], _context())
        if not isinstance(plan, Plan):
            raise TypeError(f"prepare returned {type(plan).__name__}; return a tidegate.Plan")
        return world.Plan(
            requests=[request(made) for made in plan.requests],
            skipped=[world.Skipped(index(event, "skip()"), text(reason, "the reason of Plan.skip()"))
                     for event, reason in plan.skipped],
            failed=[world.Failed(index(event, "fail()"), error(code, message)) for event, code, message in plan.failed])

    return _whole_batch(types, work)


def classify(plugin: Any, tag: str, events: list[int], response: Any, types: Any, world: Any) -> Any:
    """What an answer means for the events of its request."""
    return _read(getattr(plugin, "classify", classify_by_status), (tag, events, response), types, world)


def classify_forget(plugin: Any, tag: str, people: list[int], response: Any, types: Any, world: Any) -> Any:
    """The same for people whom the tool is to forget."""
    return _read(getattr(plugin, "classify_forget", classify_deletion), (tag, people, response), types, world)


def _read(classified: Callable[[str, list[int], Response], Any], answered: tuple[str, list[int], Any], types: Any, world: Any) -> Any:
    tag, events, response = answered
    try:
        headers = {name.lower(): value for name, value in response.headers}
        seen = Response(response.status, headers, bytes(response.body), response.attempt, host._given["host"].now_ms())
        return _verdict(classified(tag, list(events), seen), types, world)
    except RetryBatch as asked:
        return world.Verdict_Retry(asked.after_ms)
    except Exception as error:
        # It says neither that the events arrived nor that they did not: sending them again could double them.
        code, message = caught(error)
        return world.Verdict_Rejected(types.PluginError(types.ErrorKind.INTERNAL, code, message))


def _verdict(verdict: Any, types: Any, world: Any) -> Any:
    def error(kind: Any, said: Any) -> Any:
        return types.PluginError(kind, text(said.get("code"), "the code of a verdict"), str(said.get("message", "")))

    if verdict == "delivered":
        return world.Verdict_Delivered()
    if verdict == "reauthenticate":
        return world.Verdict_Reauthenticate()
    if verdict == "retry":
        return world.Verdict_Retry(None)
    if isinstance(verdict, dict) and len(verdict) == 1:
        (word, value), = verdict.items()
        if word == "retry":
            return world.Verdict_Retry(None if value is None else whole(value, "the milliseconds of a retry"))
        if word == "rejected":
            return world.Verdict_Rejected(error(types.ErrorKind.INVALID_EVENT, value))
        if word == "partial":
            return world.Verdict_Partial([(whole(event, "an event of a partial verdict"), bool(retry)) for event, retry in value])
        if word == "bisect":
            return world.Verdict_Bisect(error(types.ErrorKind.INVALID_EVENT, value))
        if word == "disable":
            return world.Verdict_Disable(error(types.ErrorKind.INVALID_CONFIG, value))
    raise TypeError(f"classify returned {verdict!r}; return 'delivered', 'reauthenticate', {{'retry': ms}}, "
                    "{'rejected': ..}, {'partial': ..}, {'bisect': ..} or {'disable': ..}")
