"""Sends the known events through one of the Python SDKs; the three of them share one interface."""

import importlib
import importlib.metadata
import json
import os
import sys

SDKS = {
    "segment": ("segment-analytics-python", "segment.analytics.client"),
    "rudder": ("rudder-sdk-python", "rudderstack.analytics.client"),
    "hightouch": ("events-sdk-python", "hightouch.htevents.client"),
}


def main():
    package, module = SDKS[sys.argv[1]]
    run = os.environ["TIDEGATE_RUN"]
    with open(os.environ["TIDEGATE_SDK_EVENTS"], encoding="utf-8") as file:
        known = json.load(file)

    failures = []
    client = importlib.import_module(module).Client(
        os.environ["TIDEGATE_WRITE_KEY"],
        host=os.environ["TIDEGATE_URL"],
        on_error=lambda error, batch: failures.append(error),
    )
    user = f"{run}-user"
    queued = [client.identify(user, {**known["identify"], "run": run})]
    for n in range(25):
        event = "Order Completed" if n % 2 == 0 else "Product Viewed"
        queued.append(client.track(user, event, {**known[event], "run": run, "n": n}))
    page = known["page"]
    queued.append(client.page(user, name=page["name"], properties={**page["properties"], "run": run}))
    queued.append(client.group(user, f"{run}-group", {**known["group"], "run": run}))
    queued.append(client.alias(f"{run}-prev", user))
    client.shutdown()

    if failures or not all(ok for ok, _ in queued):
        sys.exit(f"the SDK reports {failures or 'a full queue'}")
    expected = {
        "tracks": 25,
        "identifies": 1,
        "pages": 1,
        "groups": 1,
        "aliases": 1,
        "order_completed": 13,
        "product_viewed": 12,
    }
    version = importlib.metadata.version(package)
    print(json.dumps({"sdk": package, "version": version, "expected": expected, "run": run}))


main()
