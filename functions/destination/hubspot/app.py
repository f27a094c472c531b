"""Sends contacts and custom events to HubSpot."""

import json
import re
from typing import Any, Optional

from tidegate import (
    Context, Entry, Event, Plan, PluginError, Response, Skip, Verdict, as_list, as_map, bisect, chunks, classify_by_status,
    dumps, email, events_of, id_text, message_id, name, partial, phone, properties, records, somebody, time,
    traits,
)

CONTACTS = "https://api.hubapi.com/crm/v3/objects/contacts/batch/upsert"
DELETE = "https://api.hubapi.com/crm/v3/objects/contacts/gdpr-delete"
EVENTS = "https://api.hubapi.com/events/v3/send/batch"
CONTACTS_MAX, EVENTS_MAX, BYTES_MAX = 100, 500, 3_000_000
HEADERS = {"content-type": "application/json"}

# Which property of a contact holds a trait; `contact_properties` adds to it.
PROPERTIES = {"firstName": "firstname", "lastName": "lastname", "website": "website", "title": "jobtitle"}
# The same for the parts of the trait `address`.
ADDRESS = {"street": "address", "city": "city", "state": "state", "postalCode": "zip", "country": "country"}

settings: dict[str, Any] = {}


def configure(given: dict[str, Any]) -> None:
    settings.update(given)


def prepare(events: list[Event], _context: Context) -> Plan:
    plan = Plan()
    made = records(events, plan, record)
    for chunk in chunks(people([entry for entry in made if "id" in entry.record]), plan, CONTACTS_MAX, BYTES_MAX):
        # The tag says whose each contact is: answers name contacts by their email or by the trace id.
        owners = {entry.record["id"]: entry.events for entry in chunk}
        inputs = [entry.record | {"objectWriteTraceId": str(place)} for place, entry in enumerate(chunk)]
        plan.send(CONTACTS, {"inputs": inputs}, events_of(chunk), headers=HEADERS, tag=dumps(owners))
    for chunk in chunks([entry for entry in made if "eventName" in entry.record], plan, EVENTS_MAX, BYTES_MAX):
        plan.send(EVENTS, {"inputs": [entry.record for entry in chunk]}, events_of(chunk), headers=HEADERS)
    return plan


def forget(persons: list[Event], _context: Context) -> Plan:
    """One request for each: HubSpot deletes a contact for good by its email."""
    plan = Plan()
    for entry in records(persons, plan, deleted):
        plan.send(DELETE, entry.record, entry.events, headers=HEADERS)
    return plan


def deleted(person: Event) -> Any:
    address = email(traits(person).get("email"))
    if not address:
        raise Skip("HubSpot knows people by their email")
    return {"objectId": address, "idProperty": "email"}


def people(entries: list[Entry]) -> list[Entry]:
    """One record for each contact: HubSpot refuses a request that names one twice."""
    found: dict[str, Entry] = {}
    for entry in entries:
        known = found.setdefault(entry.record["id"], Entry([], entry.record))
        known.events.extend(entry.events)
        known.record["properties"] |= entry.record["properties"]
    return list(found.values())


def classify(tag: str, events: list[int], response: Response) -> Verdict:
    said = response.answer() or {}
    message = f"answered {response.status}: {response.text[:200]}"
    if response.status == 401:
        return {"disable": {"code": "unauthorized", "message": message}}
    if response.status == 403 and not response.is_of_proxy():
        # A token may have the scope of contacts and lack that of events, or the other way round.
        return {"rejected": {"code": "missing-scope", "message": message}}
    if response.status == 429 and "retry-after" not in response.headers:
        # Ten seconds are one window, a day is another.
        return {"retry": 3_600_000 if said.get("policyName") == "DAILY" else 10_000}
    if response.status == 477:
        return {"retry": None}
    if tag and response.status in (207, 400):
        owners = json.loads(tag)
        wrong = named(said.get("errors"), owners)
        if response.status == 207:
            left = owners.keys() - wrong - named(said.get("results"), owners)
            if len(owners) == 1 and left:
                return bisect("refused", message)
            # Neither taken nor refused: a contact stays the same when it is sent twice.
            return partial(events, rejected=owned(wrong, owners), again=owned(left, owners))
        if wrong:
            return partial(events, rejected=owned(wrong, owners), again=events)
    return classify_by_status(tag, events, response)


def named(said: Any, owners: dict[str, list[int]]) -> set[str]:
    """The contacts that results or errors name: by their email, or by the place in the request that was their trace id."""
    contacts, found = list(owners), set()
    for entry in as_list(said):
        context = as_map(as_map(entry).get("context"))
        traces = [*as_list(context.get("objectWriteTraceId")), as_map(entry).get("objectWriteTraceId")]
        names = [*as_list(context.get("ids")), as_map(as_map(entry).get("properties")).get("email")]
        found |= {contact for place, contact in enumerate(contacts) if str(place) in traces or contact in names}
    return found


def owned(contacts: set[str], owners: dict[str, list[int]]) -> set[int]:
    return {event for contact in contacts for event in owners[contact]}


def record(event: Event) -> Any:
    kind = event.get("type")
    if kind == "identify":
        return contact(event)
    if kind == "track":
        if name(event) is None:
            raise PluginError("no-event-name", "a track event needs `event`")
        rule = (settings.get("events") or {}).get(name(event))
    elif kind == "page":
        rule = settings.get("page_event")
    else:
        raise Skip(f"HubSpot gets no {kind} events")
    if not rule:
        raise Skip("no custom event of HubSpot is set for it")
    return occurrence(event, rule)


def occurrence(event: Event, rule: dict[str, Any]) -> Any:
    given, at = properties(event), time(event)
    mapped = {new: text(given[old]) for old, new in (rule.get("properties") or {}).items() if given.get(old) is not None}
    made = {"eventName": rule["name"], "email": address_of(event), "properties": mapped}
    if at is not None:
        made["occurredAt"] = at.text
    if message_id(event):
        made["uuid"] = message_id(event)
    return made


def contact(event: Event) -> Any:
    known, address = traits(event), address_of(event)
    own = PROPERTIES | (settings.get("contact_properties") or {})
    found = {new: text(known[old]) for old, new in own.items() if known.get(old) is not None}
    place = known.get("address")
    parts = as_map(place) or {"street": place}
    company = as_map(known.get("company")).get("name") or known.get("company")
    usual = {new: id_text(parts.get(old)) for old, new in ADDRESS.items()}
    usual |= {"company": id_text(company), "phone": phone_of(known.get("phone"))}
    usual = {new: value for new, value in usual.items() if value}
    return {"id": address, "idProperty": "email", "properties": {"email": address} | usual | found}


def phone_of(value: Any) -> Optional[str]:
    """HubSpot takes numbers without a country too, in the country of its account; "N/A", hashes and the like are left out."""
    given = id_text(value) or ""
    is_number = len(re.sub(r"\D", "", given)) >= 7 and not re.fullmatch(r"[0-9A-Fa-f]{64}", given.strip())
    return phone(given) or (given if is_number else None)


def address_of(event: Event) -> str:
    given = traits(event).get("email")
    if not somebody(given):
        raise Skip("HubSpot knows people by their email, and the event has none")
    address = email(given)
    # One wrong address would cost its neighbours the whole request.
    if address is None:
        raise PluginError("bad-email", f"{str(given)[:100]!r} is no email address")
    return address.lower()


def text(value: Any) -> str:
    """HubSpot's properties are texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else id_text(value) or dumps(value)
