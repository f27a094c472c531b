"""What an event says: who, when, what. Clients send what they like, so each reader answers None for anything odd."""

import datetime as _datetime
import re as _re
from decimal import Decimal as _Decimal
from typing import Any, NamedTuple, Optional

from .host import Event


def as_map(value: Any) -> dict[str, Any]:
    """An object as it is; an empty one for anything else, such as the `[]` that PHP writes for an empty object."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """An array as it is; an empty one for anything else."""
    return value if isinstance(value, list) else []


def id_text(value: Any) -> Optional[str]:
    """An id as text: text that is not blank as it is, a number by its digits, None for anything else."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value - value == 0:
        return str(int(value)) if value.is_integer() else format(_Decimal(repr(value)), "f")
    return None


# What code writes where it has nobody. Source: https://posthog.com/docs/data/identify, and Python's word for none.
_NOBODY = frozenset((
    "undefined", "null", "none", "nan", "[object object]", "0", "true", "false", "anonymous", "guest", "id", "distinctid",
    "distinct_id", "email", "not_authenticated",
))
_AROUND = "\"'\ufeff" + "".join(letter for letter in map(chr, range(0x3001)) if letter.isspace())


def somebody(value: Any) -> Optional[str]:
    """The id of somebody as text. None where `id_text` gives none, and for what code writes for nobody.

    That is "undefined", "[object Object]", 0, "Guest" and so on, in any case and also in quotes: a tool would make one person
    of all who have such an id.
    """
    found = id_text(value)
    bare = (found or "").strip(_AROUND)
    return found if bare and bare.lower() not in _NOBODY else None


def user_id(event: Event) -> Optional[str]:
    """`userId` as text; None when it is missing, blank or no id."""
    return id_text(event.get("userId"))


def anonymous_id(event: Event) -> Optional[str]:
    """`anonymousId` as text; None when it is missing, blank or no id."""
    return id_text(event.get("anonymousId"))


def group_id(event: Event) -> Optional[str]:
    """`groupId` as text; None when it is missing, blank or no id."""
    return id_text(event.get("groupId"))


def previous_id(event: Event) -> Optional[str]:
    """`previousId` as text; None when it is missing, blank or no id."""
    return id_text(event.get("previousId"))


def message_id(event: Event) -> Optional[str]:
    """`messageId` as text; None when it is missing, blank or no id."""
    return id_text(event.get("messageId"))


def user(event: Event) -> Optional[str]:
    """By what a tool knows somebody: the user id, else the anonymous id, else None."""
    return user_id(event) or anonymous_id(event)


def name(event: Event) -> Optional[str]:
    """What happened: the `event` of a track, the `name` of a page or screen; None for all else and for blank ones."""
    field = {"track": "event", "page": "name", "screen": "name"}.get(str(event.get("type")))
    value = event.get(field) if field else None
    return value if isinstance(value, str) and value.strip() else None


def context(event: Event, path: str) -> Any:
    """What stands in `context` at a path such as "page.url"; None when nothing does, and for blank text."""
    value: Any = event.get("context")
    for step in path.split("."):
        value = as_map(value).get(step)
    return None if isinstance(value, str) and not value.strip() else value


def traits(event: Event) -> dict[str, Any]:
    """`context.traits`, and over them the `traits` of the event itself."""
    return as_map(context(event, "traits")) | as_map(event.get("traits"))


def properties(event: Event) -> dict[str, Any]:
    """`properties`; empty when they are no object."""
    return as_map(event.get("properties"))


class Instant(NamedTuple):
    """A point in time: Unix milliseconds and seconds, rounded down, and RFC 3339 text in UTC."""

    ms: int
    seconds: int
    text: str


_RFC_3339 = _re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", _re.ASCII)
_EPOCH_DAY = _datetime.date(1970, 1, 1).toordinal()


def instant(value: Any) -> Optional[Instant]:
    """The instant that RFC 3339 text names, whatever its fraction and offset; None for anything else."""
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction, sign, offset_hour, offset_minute = found[7] or "", found[8], int(found[9] or 0), int(found[10] or 0)
    if hour > 23 or minute > 59 or second > 59 or offset_hour > 23 or offset_minute > 59:
        return None
    try:
        days = _datetime.date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    offset = (offset_hour * 60 + offset_minute) * 60
    return from_ms((seconds + offset * (1 if sign == "-" else -1)) * 1000 + int((fraction + "000")[:3]))


def from_ms(ms: int) -> Optional[Instant]:
    """The instant so many milliseconds after 1970; None before the year 1 and after 9999."""
    try:
        at = _datetime.datetime(1970, 1, 1) + _datetime.timedelta(milliseconds=ms)
    except OverflowError:
        return None
    return Instant(ms, ms // 1000, at.isoformat(timespec="milliseconds") + "Z")


def time(event: Event) -> Optional[Instant]:
    """When the event happened, by its `timestamp`; None when that cannot be read."""
    return instant(event.get("timestamp"))
