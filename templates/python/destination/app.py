from tidegate import Context, Event, Plan, classify_by_status


def prepare(events: list[Event], context: Context) -> Plan:
    plan, carried, bodies = Plan(), [], []
    for index, event in enumerate(events):
        if event.get("type") != "track":
            plan.skip(index, "not-tracked")
        elif not event.get("userId"):
            plan.fail(index, "missing-user", "Example knows users by their userId")
        else:
            carried.append(index)
            bodies.append({
                "id": event.get("messageId"),
                "name": event.get("event"),
                "user": event["userId"],
                "at": event.get("timestamp"),
                "properties": event.get("properties") or {},
            })
    if carried:
        headers = {"content-type": "application/json"}
        plan.send("https://api.example.com/v1/events", {"events": bodies}, carried, headers=headers)
    return plan


# What most APIs mean by their status codes; write your own when this one means something else.
classify = classify_by_status
