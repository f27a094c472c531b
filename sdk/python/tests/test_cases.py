"""The cases that all languages share: what an event means is the same in each."""

import json
import sys
import unittest
from pathlib import Path
from typing import Any, Callable, Optional

SDK = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SDK / "python"))

import tidegate  # noqa: E402


def ids(event: Any) -> Any:
    readers = (tidegate.user_id, tidegate.anonymous_id, tidegate.group_id, tidegate.message_id, tidegate.previous_id,
               tidegate.user)
    return {reader.__name__: reader(event) for reader in readers}


def times(timestamp: Any) -> Any:
    at = tidegate.time({"timestamp": timestamp})
    return at and at._asdict()


def traits(given: Any) -> Any:
    class Paths(dict[str, Any]):
        def __missing__(self, path: str) -> Any:
            return tidegate.context(given, path)

    readers = (tidegate.traits, tidegate.properties, tidegate.name)
    return {reader.__name__: reader(given) for reader in readers} | {"context": Paths()}


def money(given: Any) -> Any:
    def amount(found: Optional[tidegate.Money]) -> Any:
        return found and found._asdict()

    calls: dict[str, Callable[[], Any]] = {
        "number": lambda: tidegate.number(given["value"]),
        "currency": lambda: tidegate.currency(given["value"]),
        "money": lambda: amount(tidegate.money(given["properties"], *given["names"])),
        "revenue": lambda: amount(tidegate.revenue(given["properties"])),
        "items_total": lambda: amount(tidegate.items_total(given["properties"])),
    }
    return calls[given["call"]]()


def items(given: Any) -> Any:
    found, left_out = tidegate.items(given)
    members = [item._asdict().items() for item in found]
    known = [{field: value for field, value in item if value is not None and field != "source"} for item in members]
    return {"items": known, "left_out": left_out}


def chunks(given: Any) -> Any:
    plan = tidegate.Plan()
    entries = [tidegate.Entry([place], record) for place, record in enumerate(given["records"])]
    found = [tidegate.events_of(chunk) for chunk in tidegate.chunks(entries, plan, given["count_max"], given["bytes_max"])]
    return {"chunks": found, "too_large": [event for event, code, _ in plan.failed if code == "too-large"]}


def verdicts(given: Any) -> Any:
    response = tidegate.Response(given["status"], given["headers"], given["body"].encode(), now_ms=given["now_ms"])
    verdict = tidegate.classify_by_status("", [0, 1], response)
    if isinstance(verdict, dict) and "bisect" in verdict:
        return {"bisect": verdict["bisect"]["code"]}
    return verdict


RUN: dict[str, Callable[[Any], Any]] = {
    "ids": ids, "nobody": tidegate.somebody, "times": times, "traits": traits, "money": money, "items": items, "phones": tidegate.phone,
    "hashes": lambda given: tidegate.hashed(given["value"], given["kind"]), "chunks": chunks, "verdicts": verdicts,
}


class Cases(unittest.TestCase):
    def test_every_file_is_run(self) -> None:
        self.assertEqual({path.stem for path in (SDK / "cases").glob("*.json")}, set(RUN))

    def test_every_case_holds(self) -> None:
        for file, run in RUN.items():
            for case in json.loads((SDK / "cases" / f"{file}.json").read_text(encoding="utf-8")):
                with self.subTest(file=file, case=case["name"]):
                    found, wanted = run(case["in"]), case["out"]
                    if file in ("ids", "traits"):
                        # Only the members that are there are compared.
                        found = {member: found[member] for member in wanted}
                        if "context" in found:
                            found["context"] = {path: found["context"][path] for path in wanted["context"]}
                    self.assertEqual(found, wanted)

    def test_a_403_of_a_proxy_is_tried_later(self) -> None:
        for body, wanted in (
            ("<html>403 Forbidden</html>", {"retry": 5000}), ("", {"retry": 5000}), ('"no"', {"retry": 5000}),
            ("null", {"retry": 5000}), ('{"error":"no"}', {"bisect": "http-403"}),
        ):
            given = {"status": 403, "headers": {"retry-after": "5"}, "body": body, "now_ms": 0}
            self.assertEqual(verdicts(given), wanted, body)


if __name__ == "__main__":
    unittest.main()
