"""Sends events and profiles to Klaviyo's bulk jobs."""

import re
from typing import Any

from tidegate import Plan, PluginError, Response

from batch import Event, Skip, answer, by_status, chunks, dumps, fields, items, partial, records

API = "https://a.klaviyo.com/api"
HEADERS = {"content-type": "application/vnd.api+json", "accept": "application/vnd.api+json"}
# A request may have 5 MB, a job of events 1,000 of them.
COUNT_MAX, BYTES_MAX = 1000, 4_900_000

settings: dict[str, Any] = {}


def configure(given: dict[str, Any]) -> None:
    settings.update(given)


def prepare(events: list[Any], _context: Any) -> Plan:
    plan = Plan()
    made = records(events, plan, record)
    headers = HEADERS | {"revision": settings.get("revision", "2025-04-15")}
    for kind, path, body in (("profile", "profile-bulk-import-jobs", profiles), ("event-bulk-create", "event-bulk-create-jobs", jobs)):
        for chunk in chunks([entry for entry in made if entry[1]["type"] == kind], COUNT_MAX, BYTES_MAX):
            places = [place for place, _ in chunk]
            plan.send(f"{API}/{path}", dumps(body([item for _, item in chunk])), places, headers=headers)
    return plan


def classify(_tag: str, events: list[int], response: Response) -> Any:
    if response.status == 400:
        # Nothing of the job was taken; each error points at what it is about.
        wrong = set()
        for error in items(answer(response).get("errors")):
            pointer = str(fields(fields(error).get("source")).get("pointer"))
            found = re.search(r"/(?:events-bulk-create|profiles)/data/(\d+)", pointer)
            if found and int(found[1]) < len(events):
                wrong.add(events[int(found[1])])
        if wrong:
            return partial([(event, event not in wrong) for event in events])
    return by_status(response)


def jobs(made: list[Any]) -> Any:
    attributes = {"events-bulk-create": {"data": made}}
    return {"data": {"type": "event-bulk-create-job", "attributes": attributes}}


def profiles(made: list[Any]) -> Any:
    return {"data": {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": made}}}}


def record(event: Event) -> Any:
    who = identifiers(event)
    match event.get("type"):
        case "identify":
            # A bulk import finds nobody by an anonymous id alone.
            if not who.keys() & {"email", "phone_number", "external_id"}:
                raise Skip("a profile is made of a `userId`, an email or a phone number")
            return {"type": "profile", "attributes": who | traits(event)}
        case "track":
            if not isinstance(event.get("event"), str) or not event["event"]:
                raise PluginError("no-event-name", "a track event needs `event`")
            return happened(event, event["event"], who)
        case "page":
            return happened(event, "Page Viewed", who)
        case "screen":
            return happened(event, "Screen Viewed", who)
        case other:
            raise Skip(f"Klaviyo gets no {other} events")


def identifiers(event: Event) -> dict[str, Any]:
    known = fields(fields(event.get("context")).get("traits"))
    if event.get("type") == "identify":
        known = known | fields(event.get("traits"))
    # Klaviyo takes E.164 and refuses a job for anything else.
    phone = re.sub(r"[^+\d]", "", str(known.get("phone") or ""))
    who = {
        "email": known.get("email"),
        "phone_number": phone if re.fullmatch(r"\+\d{8,15}", phone) else None,
        "external_id": event.get("userId"),
        "anonymous_id": event.get("anonymousId"),
    }
    who = {name: value for name, value in who.items() if value}
    if not who:
        raise PluginError("no-user", "Klaviyo needs `userId`, `anonymousId`, an email or a phone number")
    return who


def traits(event: Event) -> dict[str, Any]:
    given = dict(fields(event.get("traits")))
    given.pop("email", None)
    given.pop("phone", None)
    address = fields(given.pop("address", None))
    names = {"firstName": "first_name", "lastName": "last_name", "title": "title", "avatar": "image"}
    out = {new: given.pop(old) for old, new in names.items() if old in given}
    location = {"city": address.get("city"), "region": address.get("state"), "zip": address.get("postalCode"), "country": address.get("country")}
    location = {name: value for name, value in location.items() if value}
    return out | ({"location": location} if location else {}) | ({"properties": given} if given else {})


def happened(event: Event, name: str, who: dict[str, Any]) -> Any:
    properties = fields(event.get("properties"))
    if event.get("name"):
        properties = {"name": event["name"]} | properties
    attributes = {
        "metric": {"data": {"type": "metric", "attributes": {"name": name}}},
        "properties": properties,
        "time": event.get("timestamp"),
        # Klaviyo drops an event whose id it has for the profile and metric.
        "unique_id": event.get("messageId"),
    }
    revenue = properties.get("revenue", properties.get("value"))
    if isinstance(revenue, (int, float)) and not isinstance(revenue, bool):
        attributes |= {"value": revenue, "value_currency": properties.get("currency", "USD")}
    happening = {"type": "event", "attributes": attributes}
    profile = {"data": {"type": "profile", "attributes": who}}
    return {"type": "event-bulk-create", "attributes": {"profile": profile, "events": {"data": [happening]}}}
