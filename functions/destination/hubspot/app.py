"""Sends contacts and custom events to HubSpot."""

import json
import re
from typing import Any

from tidegate import Plan, PluginError, Response

from batch import Event, Skip, answer, by_status, chunks, dumps, fields, items, partial, records

CONTACTS = "https://api.hubapi.com/crm/v3/objects/contacts/batch/upsert"
EVENTS = "https://api.hubapi.com/events/v3/send/batch"
CONTACTS_MAX, EVENTS_MAX, BYTES_MAX = 100, 500, 3_000_000
HEADERS = {"content-type": "application/json"}

# Which property of a contact holds a trait; `contact_properties` adds to it.
PROPERTIES = {"firstName": "firstname", "lastName": "lastname", "phone": "phone", "company": "company", "website": "website", "title": "jobtitle"}

settings: dict[str, Any] = {}


def configure(given: dict[str, Any]) -> None:
    settings.update(given)


def prepare(events: list[Any], _context: Any) -> Plan:
    plan = Plan()
    made = records(events, plan, record)
    for chunk in chunks(people(made), CONTACTS_MAX, BYTES_MAX):
        # The tag says whose each contact is: answers name contacts by their email.
        owners = {contact["id"]: places for places, contact in chunk}
        inputs = [contact for _, contact in chunk]
        plan.send(CONTACTS, dumps({"inputs": inputs}), sum(owners.values(), []), headers=HEADERS, tag=dumps(owners))
    for chunk in chunks([entry for entry in made if "eventName" in entry[1]], EVENTS_MAX, BYTES_MAX):
        plan.send(EVENTS, dumps({"inputs": [item for _, item in chunk]}), [place for place, _ in chunk], headers=HEADERS)
    return plan


def people(made: list[tuple[int, Any]]) -> list[tuple[Any, Any]]:
    """One record for each contact: HubSpot refuses a request that names one twice."""
    found: dict[str, tuple[list[int], Any]] = {}
    for place, item in made:
        if "id" in item:
            places, contact = found.setdefault(item["id"], ([], item))
            places.append(place)
            contact["properties"] |= item["properties"]
    return list(found.values())


def classify(tag: str, events: list[int], response: Response) -> Any:
    said = answer(response)
    if response.status == 429 and "retry-after" not in response.headers:
        # Ten seconds are one window, a day is another.
        return {"retry": 3_600_000 if said.get("policyName") == "DAILY" else 10_000}
    if response.status == 207 and tag:
        return partial([(event, False) for event in refused(json.loads(tag), said)])
    return by_status(response)


def refused(owners: dict[str, list[int]], said: dict[str, Any]) -> list[int]:
    """Events of the contacts that errors name; when they name none, of those that are not among the results."""
    contexts = [fields(fields(error).get("context")) for error in items(said.get("errors"))]
    wrong = {name for context in contexts for name in items(context.get("ids"))}
    if not wrong & owners.keys():
        wrong = owners.keys() - {fields(fields(result).get("properties")).get("email") for result in items(said.get("results"))}
    return [place for name, places in owners.items() if name in wrong for place in places]


def record(event: Event) -> Any:
    match event.get("type"):
        case "identify":
            return contact(event)
        case "track":
            if not isinstance(event.get("event"), str) or not event["event"]:
                raise PluginError("no-event-name", "a track event needs `event`")
            rule = (settings.get("events") or {}).get(event["event"])
        case "page":
            rule = settings.get("page_event")
        case other:
            raise Skip(f"HubSpot gets no {other} events")
    if not rule:
        raise Skip("no custom event of HubSpot is set for it")
    properties = fields(event.get("properties"))
    return {
        "eventName": rule["name"],
        "email": email(event),
        "occurredAt": event.get("timestamp"),
        "uuid": event.get("messageId"),
        "properties": {new: text(properties[old]) for old, new in (rule.get("properties") or {}).items() if properties.get(old) is not None},
    }


def contact(event: Event) -> Any:
    given = fields(event.get("traits"))
    names = PROPERTIES | (settings.get("contact_properties") or {})
    address = email(event)
    properties = {new: text(given[old]) for old, new in names.items() if given.get(old) is not None}
    return {"id": address, "idProperty": "email", "properties": {"email": address} | properties}


def email(event: Event) -> str:
    known = fields(fields(event.get("context")).get("traits"))
    given = fields(event.get("traits")).get("email") or known.get("email")
    if not given:
        raise Skip("HubSpot knows people by their email, and the event has none")
    address = str(given).strip().lower()
    # One wrong address would cost its neighbours the whole request.
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", address):
        raise PluginError("bad-email", f"{address[:100]!r} is no email address")
    return address


def text(value: Any) -> Any:
    """HubSpot's properties are flat."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, (str, int, float)) else dumps(value)
