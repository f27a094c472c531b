"""Sends many events of 20 to 31 KB through one of the Python SDKs, as a client that has a lot to say."""

import importlib
import importlib.metadata
import json
import os
import sys

SDKS = {
    "segment": ("segment-analytics-python", "segment.analytics.client"),
    "rudder": ("rudder-sdk-python", "rudderstack.analytics.client"),
}


def items(n, size):
    """Lines of an order, as many as make `size` bytes: alike enough to be compressed, no two the same."""
    lines = []
    while size > 0:
        line = f"line {len(lines)} of order {n}: article {(n * 7919 + len(lines) * 104729) % 99991}, two pieces, in stock"
        lines.append(line)
        size -= len(line) + 4
    return lines


def main():
    package, module = SDKS[sys.argv[1]]
    run, count = os.environ["TIDEGATE_RUN"], int(os.environ["TIDEGATE_COUNT"])
    failures = []
    client = importlib.import_module(module).Client(
        os.environ["TIDEGATE_WRITE_KEY"],
        host=os.environ["TIDEGATE_URL"],
        on_error=lambda error, batch: failures.append(f"{error}: {len(batch)} events"),
        max_queue_size=count + 1,
    )
    for n in range(count):
        size = 20_000 + (n * 7919) % 11_000
        client.track(f"{run}-user", "Large", {"run": run, "n": n, "items": items(n, size)})
    client.shutdown()
    version = importlib.metadata.version(package)
    print(json.dumps({"sdk": package, "version": version, "failures": failures[:3], "failed": len(failures)}))


main()
