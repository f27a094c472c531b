"""Sends events and profiles to Klaviyo's bulk jobs."""

import re
from typing import Any, Callable, Optional

from tidegate import (
    Context, Entry, Event, Money, Plan, PluginError, Response, Skip, Verdict, as_list, as_map, byte_length, chunks,
    classify_by_status, dumps, email, events_of, id_text, message_id, money, name, partial, phone, properties, records,
    revenue, somebody, time, traits,
)

API = "https://a.klaviyo.com/api"
HEADERS = {"content-type": "application/vnd.api+json", "accept": "application/vnd.api+json"}
# A request may have 5 MB; what stands around the records needs some of it.
COUNT_MAX, BYTES_MAX = 1000, 4_900_000
# Of one profile, and of one event.
PROFILE_BYTES_MAX = 100_000
PROPERTIES_MAX, TEXT_BYTES_MAX, NAME_CHARS_MAX = 400, 100_000, 127
# Klaviyo takes events since the year 2000 and at most a year ahead, and refuses the whole job for others.
YEAR_2000_MS, YEAR_MS = 946_684_800_000, 365 * 86_400_000

settings: dict[str, Any] = {}


def configure(given: dict[str, Any]) -> None:
    settings.update(given)


def prepare(events: list[Event], context: Context) -> Plan:
    plan = Plan()
    made = records(events, plan, lambda event: record(event, context.now_ms))
    people = [entry for entry in made if entry.record["type"] == "profile"]
    happenings = [entry for entry in made if entry.record["type"] != "profile"]
    send(plan, "profile-bulk-import-jobs", profiles, people)
    send(plan, "event-bulk-create-jobs", jobs, unrepeated(happenings, plan))
    return plan


def forget(people: list[Event], context: Context) -> Plan:
    """One deletion job for each: a job names somebody in one way."""
    plan = Plan()
    for entry in records(people, plan, deleted):
        profile = {"type": "profile", "attributes": entry.record}
        job = {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": profile}}}
        plan.send(f"{API}/data-privacy-deletion-jobs", {"data": job}, entry.events, headers=headers())
    return plan


def deleted(person: Event) -> Any:
    known = traits(person)
    address, number = email(known.get("email")), phone(known.get("phone"))
    if address:
        return {"email": address}
    if number:
        return {"phone_number": number}
    raise Skip("Klaviyo deletes profiles by email or phone")


def headers() -> dict[str, str]:
    return HEADERS | {"revision": settings.get("revision", "2025-04-15")}


def send(plan: Plan, path: str, body: Callable[[list[Any]], Any], entries: list[Entry]) -> None:
    for chunk in chunks(entries, plan, COUNT_MAX, BYTES_MAX):
        plan.send(f"{API}/{path}", body([entry.record for entry in chunk]), events_of(chunk), headers=headers())


def unrepeated(entries: list[Entry], plan: Plan) -> list[Entry]:
    """Klaviyo refuses a whole job in which a `unique_id` comes twice for a profile and a metric."""
    seen: set[str] = set()
    kept = []
    for entry in entries:
        said = entry.record["attributes"]
        happening = said["events"]["data"][0]["attributes"]
        key = dumps([happening.get("unique_id"), happening["metric"], said["profile"]])
        if key in seen and "unique_id" in happening:
            plan.skip(entry.events[0], "the same event of the same person is in the batch already")
        else:
            kept.append(entry)
            seen.add(key)
    return kept


def classify(tag: str, events: list[int], response: Response) -> Verdict:
    message = f"answered {response.status}: {response.text[:200]}"
    if response.status == 401:
        return {"disable": {"code": "unauthorized", "message": message}}
    if response.status == 403 and not response.is_of_proxy():
        # A key may have the scope of the other kind of job.
        return {"rejected": {"code": "missing-scope", "message": message}}
    if response.status == 400:
        # Nothing of the job was taken; each error points at what it is about.
        places = [pointed_at(error) for error in as_list((response.answer() or {}).get("errors"))]
        wrong = {events[place] for place in places if place is not None and place < len(events)}
        if wrong:
            return partial(events, rejected=wrong, again=events)
    return classify_by_status(tag, events, response)


def pointed_at(error: Any) -> Optional[int]:
    """The place in the request that an error is about; None when it does not say."""
    pointer = str(as_map(as_map(error).get("source")).get("pointer"))
    found = re.search(r"/(?:events-bulk-create|profiles)/data/(\d{1,6})(?:/|$)", pointer)
    return int(found[1]) if found else None


def jobs(made: list[Any]) -> Any:
    attributes = {"events-bulk-create": {"data": made}}
    return {"data": {"type": "event-bulk-create-job", "attributes": attributes}}


def profiles(made: list[Any]) -> Any:
    return {"data": {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": made}}}}


def record(event: Event, now_ms: int) -> Any:
    kind = event.get("type")
    if kind == "identify":
        return profile(event)
    if kind == "track":
        metric = name(event)
        if metric is None:
            raise PluginError("no-event-name", "a track event needs `event`")
        return happened(event, metric, now_ms)
    if kind in ("page", "screen"):
        return happened(event, "Page Viewed" if kind == "page" else "Screen Viewed", now_ms)
    raise Skip(f"Klaviyo gets no {kind} events")


def identifiers(event: Event) -> dict[str, Any]:
    known = traits(event)
    who = {
        "email": email(known.get("email")),
        "phone_number": phone(known.get("phone")),
        # Klaviyo would make one profile of all who have the same id.
        "external_id": somebody(event.get("userId")),
        "anonymous_id": somebody(event.get("anonymousId")),
    }
    who = {field: value for field, value in who.items() if value}
    if not who:
        raise PluginError("no-user", "Klaviyo needs `userId`, `anonymousId`, an email or a phone number with its country")
    return who


def profile(event: Event) -> Any:
    who = identifiers(event)
    # A bulk import finds nobody by an anonymous id alone.
    if not who.keys() & {"email", "phone_number", "external_id"}:
        raise Skip("a profile is made of a `userId`, an email or a phone number")
    known = traits(event)
    company, address = known.get("company"), known.get("address")
    fields = {
        "first_name": known.get("firstName"), "last_name": known.get("lastName"), "title": known.get("title"),
        "image": known.get("avatar"), "organization": as_map(company).get("name") or company,
    }
    fields = {field: said for field, value in fields.items() if (said := id_text(value))}
    place = location(address)
    # What has no field of its own, and what its field would not take whole, is a custom property.
    taken = {
        "email": "email" in who, "phone": "phone_number" in who, "title": "title" in fields, "avatar": "image" in fields,
        "firstName": "first_name" in fields, "lastName": "last_name" in fields,
        "company": "organization" in fields and not as_map(company).keys() - {"name"},
        "address": bool(place) and len(place) >= len(as_map(address)),
    }
    rest = {trait: value for trait, value in known.items() if value is not None and not taken.get(trait)}
    attributes = who | fields | ({"location": place} if place else {}) | ({"properties": rest} if rest else {})
    made = {"type": "profile", "attributes": attributes}
    size = byte_length(made)
    if size > PROFILE_BYTES_MAX:
        raise PluginError("large-profile", f"Klaviyo takes profiles of {PROFILE_BYTES_MAX} bytes; this one has {size}")
    return made


def location(address: Any) -> dict[str, str]:
    parts = as_map(address)
    wanted = {
        "address1": address if isinstance(address, str) else parts.get("street") or parts.get("line1") or parts.get("address1"),
        "address2": parts.get("street2") or parts.get("line2") or parts.get("address2"),
        "city": parts.get("city"), "region": parts.get("state") or parts.get("region"), "country": parts.get("country"),
        "zip": parts.get("postalCode") or parts.get("postal_code") or parts.get("zip"),
    }
    return {field: said for field, value in wanted.items() if (said := id_text(value))}


def happened(event: Event, metric: str, now_ms: int) -> Any:
    who, given = identifiers(event), properties(event)
    if isinstance(event.get("name"), str) and event["name"]:
        given = {"name": event["name"]} | given
    check(metric, given)
    attributes: dict[str, Any] = {"metric": {"data": {"type": "metric", "attributes": {"name": metric}}}, "properties": given}
    at = time(event)
    if at is not None:
        if not YEAR_2000_MS <= at.ms <= now_ms + YEAR_MS:
            raise PluginError("bad-time", f"Klaviyo takes no event of {at.text}")
        attributes["time"] = at.text
    if message_id(event):
        attributes["unique_id"] = message_id(event)
    earned = value(metric, given)
    if earned is not None:
        attributes["value"] = earned.amount
        if earned.currency:
            attributes["value_currency"] = earned.currency
    person = {"data": {"type": "profile", "attributes": who}}
    happening = {"type": "event", "attributes": attributes}
    return {"type": "event-bulk-create", "attributes": {"profile": person, "events": {"data": [happening]}}}


def value(metric: str, given: dict[str, Any]) -> Optional[Money]:
    """An order may be priced by its items; elsewhere prices say what somebody looked at, not what it brought."""
    return revenue(given) if metric == "Order Completed" else money(given, "revenue", "value", "subtotal")


def check(metric: str, given: dict[str, Any]) -> None:
    """What Klaviyo would refuse together with the rest of its job."""
    if len(metric) > NAME_CHARS_MAX:
        raise PluginError("long-event-name", f"Klaviyo takes names of {NAME_CHARS_MAX} characters; this one has {len(metric)}")
    if len(given) > PROPERTIES_MAX:
        raise PluginError("too-many-properties", f"Klaviyo takes {PROPERTIES_MAX} properties; the event has {len(given)}")
    for field, said in given.items():
        if isinstance(said, str) and len(said.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
            raise PluginError("long-text", f"Klaviyo takes texts of {TEXT_BYTES_MAX} bytes; {field[:100]!r} is longer")
