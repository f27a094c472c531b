"""What a plugin in Python imports as `tidegate`.

The interpreter is CPython without files, network, threads or clock. A function defines `transform(event, context)`, a
destination `prepare(events, context)` and, when status codes do not say it all, `classify(tag, events, response)`; each
may define `configure(settings)`. With `forget: true` in plugin.yaml a destination defines `forget(people, context)` as well.
"""

from .commerce import Item, Items, Money, currency, item, items, items_total, money, number, revenue
from .delivery import (
    Entry, Plan, Request, Response, Skip, Verdict, bisect, byte_length, chunks, classify_by_status, classify_deletion,
    events_of, partial, records, retry_after,
)
from .event import (
    Instant, anonymous_id, as_list, as_map, context, from_ms, group_id, id_text, instant, message_id, name, previous_id,
    properties, somebody, time, traits, user, user_id,
)
from .host import (
    Context, Drop, Event, Fail, Fields, Keep, Path, PluginError, Result, RetryBatch, count, drop, dumps, fail, keep,
    log, lookup, sign,
)
from .people import email, hashed, phone

__all__ = [
    "Item", "Items", "Money", "currency", "item", "items", "items_total", "money", "number", "revenue", "Entry",
    "Plan", "Request", "Response", "Skip", "Verdict", "bisect", "byte_length", "chunks", "classify_by_status",
    "classify_deletion", "events_of", "partial", "records", "retry_after", "Instant", "anonymous_id", "as_list", "as_map", "context", "from_ms", "group_id",
    "id_text", "instant", "message_id", "name", "previous_id", "properties", "somebody", "time", "traits", "user", "user_id",
    "Context", "Drop", "Event", "Fail", "Fields", "Keep", "Path", "PluginError", "Result", "RetryBatch", "count",
    "drop", "dumps", "fail", "keep", "log", "lookup", "sign", "email", "hashed", "phone",
]
