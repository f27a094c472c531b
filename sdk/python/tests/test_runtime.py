"""What the runtime makes of a plugin's answers, with a host that is a few lines of Python."""

import json
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tidegate  # noqa: E402
from tidegate import errors, runtime  # noqa: E402


class Err(Exception):
    """As componentize-py has it."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class Table:
    def get(self, table: Any, key: Any) -> Any:
        if not isinstance(table, str) or not isinstance(key, str):
            raise SystemExit("the host trapped")
        if table != "names":
            raise Err(f"the table {table!r} is not granted")
        return {"ada": '"Ada"'}.get(key)


class Named:
    """Stands for every constructor of the generated bindings: remembers its name and arguments."""

    def __getattr__(self, name: str) -> Any:
        if name in ("ErrorKind", "Method", "Level"):
            return Words()
        return lambda *given, **named: SimpleNamespace(made=name, given=given, **named)


class Words:
    def __getattr__(self, name: str) -> str:
        return name

    __getitem__ = __getattr__


logged: list[str] = []
HOST = SimpleNamespace(Level=Words(), log=lambda _level, message: logged.append(message), now_ms=lambda: 1000, seed=lambda: 1)


def transformed(transform: Any, *events: str) -> list[Any]:
    return runtime.transform(SimpleNamespace(transform=transform), list(events), Named(), Named())


def planned(prepare: Any, *events: str) -> Any:
    return runtime.prepare(SimpleNamespace(prepare=prepare), list(events), Named(), Named())


def classified(verdict: Any) -> Any:
    response = SimpleNamespace(status=200, headers=[], body=b"", attempt=1)
    return runtime.classify(SimpleNamespace(classify=lambda *_: verdict), "", [0], response, Named(), Named())


class Transform(unittest.TestCase):
    def setUp(self) -> None:
        runtime.give(host=HOST, lookup=Table(), Err=Err)
        errors.forget_logged()
        logged.clear()

    def failure(self, transform: Any) -> str:
        (outcome,) = transformed(transform, "{}")
        self.assertEqual(outcome.made, "Outcome_Fail")
        return outcome.given[0].given[2]

    def test_a_wrong_argument_is_an_error_with_the_authors_line(self) -> None:
        line = sys._getframe().f_lineno + 1
        said = self.failure(lambda event, _: tidegate.lookup("names", event.get("userId")))
        self.assertIn("lookup: the key is NoneType, not text", said)
        self.assertRegex(said, rf"test_runtime\.py:{line}\)")
        self.assertIn("lookup: the table is int", self.failure(lambda *_: tidegate.lookup(1, "a")))
        self.assertIn("count", self.failure(lambda *_: tidegate.count("made", -1)))
        self.assertIn("the reason of drop() is NoneType", self.failure(lambda *_: tidegate.drop(None)))
        self.assertIn("the table 'other' is not granted", self.failure(lambda *_: tidegate.lookup("other", "a")))
        self.assertEqual(tidegate.lookup("names", "ada"), "Ada")
        self.assertIsNone(tidegate.lookup("names", "eve"))

    def test_what_is_no_json_fails_its_own_event(self) -> None:
        outcomes = transformed(lambda event, _: event | {"n": float(event["n"])}, '{"n":"1"}', '{"n":"inf"}', '{"n":"2"}')
        self.assertEqual([outcome.made for outcome in outcomes], ["Outcome_Replace", "Outcome_Fail", "Outcome_Replace"])
        self.assertRegex(outcomes[1].given[0].given[2], r"not JSON compliant(: inf)?$")
        self.assertEqual(len(logged), 1)

    def test_a_number_beyond_the_range_of_floats_goes_back_as_the_host_can_find_it(self) -> None:
        digits = "7" * 5000
        huge = f'{{"a":[1e400,null,"Infinity"],"b":-1E999,"n":{digits}}}'
        (outcome,) = transformed(lambda event, _: event | {"c": 1}, huge)
        self.assertEqual(outcome.given, (f'{{"a":[Infinity,null,"Infinity"],"b":-Infinity,"n":{digits},"c":1}}',))
        # NaN is nobody's, and Infinity is no number of an event that has none so large.
        for event, made in ((huge, "nan"), ('{"n":1.5}', "inf")):
            (outcome,) = transformed(lambda event, _: event | {"n": float(made)}, event)
            self.assertEqual(outcome.made, "Outcome_Fail", made)

    def test_half_a_surrogate_pair_is_written_as_an_escape(self) -> None:
        (outcome,) = transformed(lambda event, _: event, r'{"a":"\ud83d","b":"é"}')
        self.assertEqual(outcome.given[0], r'{"a":"\ud83d","b":"\u00e9"}')


class Destination(unittest.TestCase):
    def setUp(self) -> None:
        runtime.give(host=HOST, Err=Err)

    def test_a_plan_that_the_bindings_would_trap_on_is_an_error(self) -> None:
        def skips(reason: Any) -> Any:
            def prepare(*_: Any) -> tidegate.Plan:
                plan = tidegate.Plan()
                plan.skip(0, reason)
                return plan
            return prepare

        self.assertEqual(planned(skips("why"), "{}").skipped[0].given, (0, "why"))
        with self.assertRaises(Err) as raised:
            planned(skips(None), "{}")
        self.assertIn("the reason of Plan.skip() is NoneType", raised.exception.value.given[0].given[2])

    def test_one_odd_record_costs_one_event(self) -> None:
        def record(event: Any) -> Any:
            return {"n": float(event["n"]), "s": event.get("s")}

        def prepare(events: Any, _: Any) -> tidegate.Plan:
            plan = tidegate.Plan()
            for chunk in tidegate.chunks(tidegate.records(events, plan, record), plan, 2, 100):
                plan.send("https://a.example", [entry.record for entry in chunk], tidegate.events_of(chunk))
            return plan

        events = ['{"n":1}', '{"n":"Infinity"}', "[]", '{"n":2}', "{}", json.dumps({"n": 3, "s": "x" * 200}), '{"n":4}']
        plan = planned(prepare, *events)
        self.assertEqual([request.events for request in plan.requests], [[0, 3], [6]])
        self.assertEqual(json.loads(plan.requests[0].body), [{"n": 1, "s": None}, {"n": 2, "s": None}])
        failed = [(one.given[0], one.given[1].given[1]) for one in plan.failed]
        self.assertRegex(plan.failed[2].given[1].given[2], r"KeyError: 'n' \(.*test_runtime\.py:\d+\)")
        self.assertEqual(sorted(failed), [(1, "not-json"), (2, "not-an-object"), (4, "python-exception"), (5, "too-large")])

    def test_an_odd_verdict_is_a_rejection_and_no_trap(self) -> None:
        self.assertEqual(classified({"retry": 5}).given, (5,))
        for verdict in (None, {"retry": -1}, {"retry": 1.5}, {"rejected": {"code": 5}}, {"partial": [("0", True)]}):
            self.assertEqual(classified(verdict).made, "Verdict_Rejected", verdict)

    def test_people_to_forget_are_planned_by_forget(self) -> None:
        def forget(people: Any, _: Any) -> tidegate.Plan:
            plan = tidegate.Plan()
            for number, person in enumerate(people):
                plan.send(f"https://a.example/{person['userId']}", b"", [number], method="delete")
            return plan

        plan = runtime.prepare_forget(SimpleNamespace(forget=forget), ['{"userId":"ann"}'], Named(), Named())
        self.assertEqual([(request.url, request.events) for request in plan.requests], [("https://a.example/ann", [0])])
        for status, body, verdict in [
            (200, b"", "Verdict_Delivered"), (404, b'{"message":"no such user"}', "Verdict_Delivered"),
            (404, b"<html>", "Verdict_Retry"), (403, b"{}", "Verdict_Disable"), (400, b"{}", "Verdict_Bisect"),
        ]:
            response = SimpleNamespace(status=status, headers=[], body=body, attempt=1)
            read = runtime.classify_forget(SimpleNamespace(), "", [0], response, Named(), Named())
            self.assertEqual(read.made, verdict, body)


if __name__ == "__main__":
    unittest.main()
