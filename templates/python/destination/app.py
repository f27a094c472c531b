from typing import Any

from tidegate import (
    Context, Event, Plan, PluginError, Skip, chunks, classify_by_status, events_of, message_id, name, properties,
    records, time, user_id,
)

API = "https://api.example.com/v1/events"
# What one request may hold.
COUNT_MAX, BYTES_MAX = 100, 1_000_000


def record(event: Event) -> Any:
    if event.get("type") != "track":
        raise Skip("not-tracked")
    if user_id(event) is None:
        raise PluginError("missing-user", "Example knows users by their userId")
    at = time(event)
    return {
        "id": message_id(event),
        "name": name(event),
        "user": user_id(event),
        "at": at.text if at else None,
        "properties": properties(event),
    }


def prepare(events: list[Event], context: Context) -> Plan:
    plan = Plan()
    for chunk in chunks(records(events, plan, record), plan, COUNT_MAX, BYTES_MAX):
        body = {"events": [entry.record for entry in chunk]}
        plan.send(API, body, events_of(chunk), headers={"content-type": "application/json"})
    return plan


# What most APIs mean by their status codes; write your own when this one means something else.
classify = classify_by_status
