from tidegate import Context, Event, Result, as_map, drop, keep, properties


def transform(event: Event, context: Context) -> Result:
    holder = properties(event)
    if "email" not in holder:
        holder = as_map(event.get("traits"))
    found = holder.get("email")
    if not isinstance(found, str):
        return keep
    email = found.lower()
    if email.endswith("@" + context.settings["staff_domain"]):
        return drop("staff")
    if email == found:
        return keep
    holder["email"] = email
    return event
