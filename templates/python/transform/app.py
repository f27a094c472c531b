from tidegate import Context, Event, Result, drop, keep


def transform(event: Event, context: Context) -> Result:
    holder = event.get("properties") or {}
    if "email" not in holder:
        holder = event.get("traits") or {}
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
