"""One flow through the admin API with a client that was generated from the document of the server."""

import json
import os

from tidegate_client import AuthenticatedClient
from tidegate_client.api.access import who_am_i
from tidegate_client.api.audit import list_audit
from tidegate_client.api.objects import create_object, delete_object, list_objects, show_object, update_object
from tidegate_client.models import ChangeDone, NewObject, NewObjectSpec, Objects, WhoAmI

client = AuthenticatedClient(base_url=os.environ["TIDEGATE_API_URL"], token=os.environ["TIDEGATE_API_TOKEN"])
names = ["py-a", "py-b", "py-c"]


def source(name: str, rate: str) -> NewObject:
    return NewObject(name=name, spec=NewObjectSpec.from_dict({"kind": "http", "rate": rate}))


who = who_am_i.sync_detailed(client=client)
assert isinstance(who.parsed, WhoAmI) and who.parsed.admin, who

for name in names:
    made = create_object.sync_detailed("source", client=client, body=source(name, "1/s"), idempotency_key=name)
    assert isinstance(made.parsed, ChangeDone) and made.parsed.objects[0].done == "created", made

seen: list[str] = []
page = list_objects.sync_detailed("source", client=client, prefix="py-", limit=2)
while True:
    assert isinstance(page.parsed, Objects), page
    seen.extend(found.name for found in page.parsed.objects)
    if not isinstance(page.parsed.next_, str):
        break
    page = list_objects.sync_detailed("source", client=client, prefix="py-", limit=2, cursor=page.parsed.next_)
assert seen == names, seen

shown = show_object.sync_detailed("source", "py-a", client=client)
assert shown.status_code == 200, shown
tag = shown.headers["etag"]
changed = update_object.sync_detailed("source", "py-a", client=client, body=source("py-a", "2/s"), if_match=tag)
assert changed.status_code == 200, changed
stale = update_object.sync_detailed("source", "py-a", client=client, body=source("py-a", "3/s"), if_match=tag)
assert stale.status_code == 412 and json.loads(stale.content)["code"] == "conflict", stale

for name in names:
    deleted = delete_object.sync_detailed("source", name, client=client)
    assert deleted.status_code == 200, deleted
gone = show_object.sync_detailed("source", "py-a", client=client)
assert gone.status_code == 404, gone

audit = list_audit.sync_detailed(client=client, kind="source", limit=10)
assert audit.status_code == 200, audit
done = [f"{entry['action']} {entry['name']}" for entry in json.loads(audit.content)["entries"]]
assert "updated py-a" in done and "deleted py-c" in done, done
print(json.dumps({"made": names, "audited": len(done)}))
