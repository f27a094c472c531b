from typing import Optional

from tidegate import Context, Drop, Fields, Path, drop

EMAILS = [Path("/properties/email"), Path("/traits/email")]


def transform(event: Fields, context: Context) -> Optional[Drop]:
    for at in EMAILS:
        found = event.get_string(at)
        if found is None:
            continue
        email = found.lower()
        if email.endswith("@" + context.settings["staff_domain"]):
            return drop("staff")
        if email != found:
            event.set(at, email)
    return None
