"""What a plugin says and asks: outcomes, errors, log, counters, tables, signatures, and the fields of an event."""

import json as _json
import math as _math
from typing import Any, Callable, Optional, Union

Event = dict[str, Any]

# What the host gives to this kind of plugin; `runtime` fills it in before any event arrives.
_given: dict[str, Any] = {}


class Keep:
    """The outcome of an event that stays as it is."""


class Drop:
    """The outcome of an event that is filtered on purpose."""

    def __init__(self, reason: str) -> None:
        self.reason = text(reason, "the reason of drop()")


class Fail:
    """The outcome of an event that goes to quarantine."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = text(code, "the code of fail()"), str(message)


keep = Keep()
drop = Drop
fail = Fail
Result = Union[Event, list[Event], Keep, Drop, Fail, None]


class PluginError(Exception):
    """Raise it in `configure` to refuse settings, or anywhere to fail one event with a code of your own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = text(code, "the code of PluginError"), str(message)


class RetryBatch(Exception):
    """Raise it to have the whole batch tried again later, not before `after_ms` milliseconds if that is given."""

    def __init__(self, message: str, after_ms: Optional[int] = None) -> None:
        super().__init__(message)
        self.after_ms = None if after_ms is None else whole(after_ms, "after_ms of RetryBatch")


class Context:
    """What is the same for all events of a batch, and the same on replay: settings, Unix milliseconds, a seed."""

    def __init__(self, settings: dict[str, Any], now_ms: int, seed: int) -> None:
        self.settings, self.now_ms, self.seed = settings, now_ms, seed


def text(value: Any, what: str) -> str:
    """`value`, which must be text; the error names `what` otherwise. The host would trap on anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is {type(value).__name__}, not text")
    return value


def whole(value: Any, what: str) -> int:
    """`value`, which must be a whole number from 0 to 4294967295."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 0xFFFFFFFF:
        raise TypeError(f"{what} is {value!r}, not a whole number from 0 to 4294967295")
    return value


def dumps(value: Any) -> str:
    """`value` as JSON without spaces. NaN and Infinity are no JSON and raise ValueError."""
    return _written(value, False)


def dumps_for_host(value: Any, is_of_event: Callable[[], bool]) -> str:
    """The same for what goes back to the host. It knows every digit of the event, so numbers of the event beyond the range
    of floats may be written, as Infinity, when `is_of_event()` says that it has some; the host puts them back."""
    try:
        return dumps(value)
    except ValueError:
        if _has(value, _math.isnan) or not is_of_event():
            raise
        return _written(value, True)


def has_infinite(value: Any) -> bool:
    """Whether a number beyond the range of floats stands anywhere in `value`."""
    return _has(value, _math.isinf)


def _has(value: Any, wanted: Callable[[float], bool]) -> bool:
    if isinstance(value, float):
        return wanted(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(_has(one, wanted) for one in inner)


def _written(value: Any, allow_nan: bool) -> str:
    written = _json.dumps(value, ensure_ascii=False, allow_nan=allow_nan, separators=(",", ":"))
    try:
        written.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair can only be written as an escape.
        written = _json.dumps(value, allow_nan=allow_nan, separators=(",", ":"))
    return written


def log(message: Any, level: str = "info") -> None:
    """Writes a line to the log of this plugin; `level` is debug, info, warn or error."""
    host = _given["host"]
    host.log(host.Level[text(level, "the level of log()").upper()], str(message))


def count(name: str, delta: int = 1) -> None:
    """Adds to a counter of this plugin."""
    _given["host"].count(text(name, "the name of count()"), whole(delta, "the delta of count()"))


def lookup(table: str, key: str) -> Any:
    """The entry for `key` in a table that the manifest names under `lookups`; None when there is none."""
    table, key = text(table, "lookup: the table"), text(key, "lookup: the key")
    if "lookup" not in _given:
        raise RuntimeError("lookup() is not for this kind of plugin")
    try:
        entry = _given["lookup"].get(table, key)
    except _given["Err"] as refused:
        raise LookupError(str(refused.value)) from None
    return None if entry is None else _json.loads(entry)


def sign(algorithm: str, secret: str, data: Union[str, bytes]) -> bytes:
    """HMAC (sha1, sha256 or sha512) of `data` under the secret called `secret`; the plugin never sees the secret."""
    algorithm, secret = text(algorithm, "sign: the algorithm"), text(secret, "sign: the name of the secret")
    if not isinstance(data, (str, bytes)):
        raise TypeError(f"sign: the data is {type(data).__name__}, not text or bytes")
    if "secrets" not in _given:
        raise RuntimeError("sign() is for destinations")
    secrets = _given["secrets"]
    try:
        mac = secrets.Mac[f"HMAC_{algorithm.upper()}"]
    except KeyError:
        raise ValueError(f"sign: there is no algorithm {algorithm!r}; use sha1, sha256 or sha512") from None
    try:
        signature: bytes = secrets.sign(mac, secrets.MacKey_Named(secret), data.encode() if isinstance(data, str) else data)
    except _given["Err"] as refused:
        raise ValueError(str(refused.value)) from None
    return signature


class Path:
    """A JSON pointer for the kind fields, such as "/properties/email". Make it once, at the top of the file."""

    def __init__(self, pointer: str) -> None:
        # The host would trap on it, at the first event; this says so while the plugin is built.
        if not text(pointer, "a pointer").startswith("/"):
            raise ValueError(f'{pointer!r} is no JSON pointer; write "/properties/name"')
        self.pointer = pointer
        self._handle: Any = None

    @property
    def handle(self) -> Any:
        """The host's own path, made when it is first used."""
        if self._handle is None:
            self._handle = _given["fields"].Path(self.pointer)
        return self._handle


class Fields:
    """One event of the kind fields: the host keeps it, and reads and writes what is asked for."""

    def __init__(self, index: int) -> None:
        self._index = index

    def get_string(self, at: Path) -> Optional[str]:
        """The text there; None when nothing is there or it is no text."""
        found: Optional[str] = at.handle.get_string(self._index)
        return found

    def get_number(self, at: Path) -> Optional[float]:
        """The number there; None when nothing is there or it is no number."""
        found: Optional[float] = at.handle.get_number(self._index)
        return found

    def get_json(self, at: Path) -> Any:
        """Whatever is there; None when nothing is."""
        found = at.handle.get_json(self._index)
        return None if found is None else _json.loads(found)

    def has(self, at: Path) -> bool:
        """Whether anything is there."""
        found: bool = at.handle.has(self._index)
        return found

    def set(self, at: Path, value: Any) -> None:
        """Writes `value` there; objects on the way are made."""
        try:
            if isinstance(value, str):
                at.handle.set_string(self._index, value)
            else:
                at.handle.set_json(self._index, dumps_for_host(value, lambda: True))
        except _given["Err"] as refused:
            raise ValueError(f"{at.pointer} cannot be set: {refused.value}") from None

    def move(self, at: Path, to: Path) -> bool:
        """Moves whatever is there, without a copy; says whether anything was."""
        try:
            moved: bool = at.handle.move_to(self._index, to.handle)
        except _given["Err"] as refused:
            raise ValueError(f"{at.pointer} cannot be moved to {to.pointer}: {refused.value}") from None
        return moved

    def remove(self, at: Path) -> None:
        """Takes away what is there, if anything."""
        at.handle.remove(self._index)
