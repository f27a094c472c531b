// What the runtime makes of a plugin, with a host that is a few lines of JavaScript.

import assert from "node:assert/strict";
import test from "node:test";

// In a component the runtime replaces these; here the test runner needs its own.
const { Date, Promise, queueMicrotask, console } = globalThis;
const { random } = Math;
const itsOwn = globalThis.structuredClone;
delete globalThis.structuredClone;
const sdk = await import("../tidegate.js");
Object.assign(globalThis, { Date, Promise, queueMicrotask, console });
Math.random = random;
const ours = globalThis.structuredClone;
globalThis.structuredClone = itsOwn;

const host = { log() {}, count() {}, nowMs: () => 1000n, seed: () => 1n };
const table = { names: { ada: '"Ada"' } };
const lookup = {
  get(name, key) {
    if (typeof name !== "string" || typeof key !== "string") throw new Error("the host trapped");
    return table[name][key];
  },
};

const outcomes = (transform, ...events) => sdk.transformWorld({ transform }, { host, lookup }).transformer.transform(events);

function failure(transform) {
  const [outcome] = outcomes(transform, "{}");
  assert.equal(outcome.tag, "fail", JSON.stringify(outcome));
  return outcome.val.message;
}

test("a clone is what the standard says, numbers beyond JSON and cycles included", () => {
  const made = JSON.parse('{"__proto__": {"a": 1}, "n": 1e999, "list": [-1e999, null, {"x": "y"}]}');
  Object.assign(made, { nan: NaN, nothing: undefined, at: new Date(5), map: new Map([["k", [1]]]), set: new Set([2]), bytes: new Uint8Array([7]) });
  made.self = made;
  const clone = ours(made);
  assert.deepEqual(clone, itsOwn(made));
  assert.ok(clone !== made && clone.self === clone && clone.list[2] !== made.list[2] && clone.at !== made.at);
  assert.ok(Object.keys(clone).includes("__proto__"));
  assert.throws(() => ours({ f() {} }), TypeError);
});

test("a wrong argument is an error that names it", () => {
  assert.match(failure((event) => sdk.lookup("names", event.userId)), /lookup: the key is undefined, not text/);
  assert.match(failure(() => sdk.lookup("names", null)), /lookup: the key is null/);
  assert.match(failure(() => sdk.lookup("names", 5)), /lookup: the key is a number/);
  assert.match(failure(() => sdk.lookup(undefined, "ada")), /lookup: the table is undefined/);
  assert.match(failure(() => sdk.count("made", -1)), /count: the delta is -1/);
  assert.match(failure(() => sdk.count(5)), /count: the name is a number/);
  assert.match(failure(() => sdk.drop()), /the reason of drop\(\) is undefined/);
  assert.match(failure(() => sdk.hashed("a", "mail")), /hashed: the kind is mail/);
  assert.deepEqual(outcomes(() => ({ name: sdk.lookup("names", "ada"), none: sdk.lookup("names", "eve") }), "{}"), [
    { tag: "replace", val: '{"name":"Ada","none":null}' },
  ]);
});

test("what is no JSON fails its own event and names the place", () => {
  const made = outcomes((event) => ({ a: { n: Number(event.n), nothing: null } }), '{"n":"1"}', '{"n":"x"}', '{"n":"Infinity"}');
  assert.deepEqual(made.map((outcome) => outcome.tag), ["replace", "fail", "fail"]);
  assert.equal(made[1].val.message, "NaN at /a/n is no JSON");
  assert.equal(made[2].val.code, "not-json");
  // Also behind, before and in place of nulls of the event itself.
  const beside = outcomes((event) => ({ ...event, z: event.first / 0 }), '{"first":1,"n":null}', '{"first":"","n":null}');
  assert.deepEqual(beside.map((outcome) => outcome.tag), ["fail", "fail"]);
  const before = outcomes((event) => ({ a: NaN, ...event, n: event.n ?? 1 }), '{"m":null,"n":null}', '{"n":null}');
  assert.deepEqual(before.map((outcome) => outcome.tag), ["fail", "fail"]);
  const kept = outcomes((event) => ({ ...event, z: 1 }), '{"m":null,"n":[null,{"o":null}]}');
  assert.deepEqual(kept, [{ tag: "replace", val: '{"m":null,"n":[null,{"o":null}],"z":1}' }]);
});

test("a number beyond the range of doubles goes back as the host can find it", () => {
  const huge = '{"a":[1e400,null,"Infinity"],"b":-1E999}';
  const touched = outcomes((event) => ({ ...event, c: 1 }), huge);
  assert.deepEqual(touched, [{ tag: "replace", val: '{"a":[Infinity,null,"Infinity"],"b":-Infinity,"c":1}' }]);
  // NaN is nobody's, and Infinity is no number of an event that has none so large.
  const made = outcomes((event) => ({ n: event.a ? NaN : event.n / 0 }), huge, '{"n":1}', '{"n":0}');
  assert.deepEqual(made.map((outcome) => outcome.val.message), ["NaN at /n is no JSON", "Infinity at /n is no JSON", "NaN at /n is no JSON"]);
});

const prepare = sdk.destination({
  record: (event) => {
    if (event.skip) throw new sdk.Skip("asked to");
    return { n: Number(event.n), s: event.s, deep: event.deep.er };
  },
  requests: (entries, plan) => sdk.chunks(entries, { count: 2, bytes: 100 }, plan).map((chunk) => ({
    url: "https://a.example", body: sdk.jsonArray(chunk), events: sdk.eventsOf(chunk),
  })),
}).prepare;

test("what an event is called", () => {
  const others = { page: "Page Viewed" };
  assert.equal(sdk.eventName({ type: "track", event: "Order Completed" }, others), "Order Completed");
  assert.equal(sdk.eventName({ type: "page", name: "Home" }, others), "Page Viewed");
  assert.throws(() => sdk.eventName({ type: "track", event: " " }, others), { code: "no-event-name" });
  assert.throws(() => sdk.eventName({ type: "group" }, others), sdk.Skip);
  assert.throws(() => sdk.eventName({ type: "constructor" }), sdk.Skip);
});

test("one odd record costs one event", () => {
  const good = { n: 1, deep: { er: true } };
  const plan = prepare([good, { ...good, n: "Infinity" }, [], null, good, {}, { ...good, s: "x".repeat(200) }, { skip: true }, good]);
  assert.deepEqual(plan.requests.map((request) => request.events), [[0, 4], [8]]);
  assert.equal(plan.requests[0].body, '[{"n":1,"deep":true},{"n":1,"deep":true}]');
  const failed = plan.failed.map(({ event, code }) => [event, code]).sort();
  assert.deepEqual(failed, [[1, "not-json"], [2, "not-an-object"], [3, "not-an-object"], [5, "exception"], [6, "too-large"]]);
  assert.deepEqual(plan.skipped, [{ event: 7, reason: "asked to" }]);
});

test("the length in bytes is that of UTF-8", () => {
  for (const text of ["", "abc", "é", "Ωμέγα", "電気", "👍", "a\u007f\u0080\u07ff\u0800\uffff"]) {
    assert.equal(sdk.byteLength(text), new TextEncoder().encode(text).length, text);
  }
});

test("SHA-256 of texts around the end of a block", async () => {
  const { createHash } = await import("node:crypto");
  for (const length of [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 1000]) {
    const text = "ä".repeat(length);
    assert.equal(sdk.sha256(text), createHash("sha256").update(text).digest("hex"), `${length}`);
    assert.equal(sdk.sha256("a".repeat(length)), createHash("sha256").update("a".repeat(length)).digest("hex"), `${length}`);
  }
});

test("a tool that knows a key says so, a proxy does not", () => {
  const answer = (status, text) => sdk.classifyByKey({ events: [0, 1], response: { status, headers: {}, text } });
  assert.equal(answer(401, "no").disable.code, "unauthorized");
  assert.equal(answer(403, '{"error":"no scope"}').disable.code, "unauthorized");
  assert.deepEqual(answer(403, "<html>"), { retry: null });
  assert.deepEqual(answer(404, "<html>"), { retry: null });
  assert.equal(answer(200, ""), "delivered");
});

test("an entry may count for several, and a record has a limit of its own", () => {
  const plan = { failed: [] };
  const entry = (event, value) => ({ event, value, json: JSON.stringify(value) });
  const entries = [entry(0, [1, 2]), entry(1, [3]), entry(2, [4, 5, 6]), entry(3, ["x".repeat(50)]), entry(4, [7])];
  const made = sdk.chunks(entries, { count: 3, bytes: 1000, record: 40, weigh: ({ value }) => value.length }, plan);
  assert.deepEqual(made.map(sdk.eventsOf), [[0, 1], [2], [4]]);
  assert.deepEqual(plan.failed.map(({ event, code }) => [event, code]), [[3, "too-large"]]);
});

test("a record may hold a number of its event beyond the range of doubles, and no other", () => {
  const plugin = (record) => sdk.destination({ record, requests: (entries) => entries.map(({ event, json }) => ({ url: "https://x", body: json, events: [event] })) });
  const event = JSON.parse('{"n":1e400}');
  assert.equal(plugin((given) => ({ n: given.n })).prepare([event]).requests[0].body, '{"n":Infinity}');
  assert.equal(plugin(() => ({ n: 1 / 0 })).prepare([{}]).failed[0].code, "not-json");
});

test("moments as people write them", () => {
  const text = "2026-01-31T12:30:45.000Z";
  const inUtc = ["2026-01-31T12:30:45", "2026-01-31 12:30:45", "2026-01-31t12:30:45.000", " 2026-01-31T12:30:45 "];
  const elsewhere = ["2026-01-31T13:30:45+01:00", "2026-01-31T13:30:45+0100", "2026-01-31 13:30:45+01", "2026-01-31T11:00:45-01:30"];
  for (const value of [text, ...inUtc, ...elsewhere, 1769862645, "1769862645", 1769862645000, "1769862645000", 1769862645.0004]) {
    assert.equal(sdk.moment(value)?.text, text, `${value}`);
  }
  assert.equal(sdk.moment("2026-01-31").text, "2026-01-31T00:00:00.000Z");
  assert.equal(sdk.moment("2026-01-31T12:30").text, "2026-01-31T12:30:00.000Z");
  assert.equal(sdk.moment("2026-01-31T12:30:45.123456").text, "2026-01-31T12:30:45.123Z");
  assert.equal(sdk.moment(-86400).text, "1969-12-31T00:00:00.000Z");
  const wrong = ["2026-02-29", "2026-01-31T", "2026-01-31T12", "2026-01-31T25:00:00", "2026-01-31T12:30:45+", "2026-01-31T12:30:45+1", "2026-01-31+01:00"];
  for (const value of [...wrong, "", "yesterday", "01/31/2026", null, true, {}, 1e20, NaN]) assert.equal(sdk.moment(value), undefined, `${value}`);
});

/** What `work` logs as warnings. */
function warnings(work) {
  const [said, { warn }] = [[], console];
  console.warn = (message) => said.push(message);
  try {
    work();
  } finally {
    console.warn = warn;
  }
  return said;
}

test("names that the tool has for itself", () => {
  assert.deepEqual(sdk.renamed({ time: 1, a: 2 }, "own_", (name) => name === "time"), { own_time: 1, a: 2 });
  const told = [];
  const kept = sdk.renamed({ own_time: 0, time: 1 }, "own_", (name) => name === "time", (...names) => told.push(names));
  assert.deepEqual([kept, told], [{ own_time: 0, own_own_time: 1 }, [["time", "own_own_time"]]]);
  const fields = JSON.parse('{"__proto__": 1, "b": 2}');
  assert.equal(JSON.stringify(sdk.renamed(fields, "own_", (name) => name === "b")), '{"__proto__":1,"own_b":2}');
});

test("what the plugin says takes nothing away from the event", () => {
  const said = { $os: undefined, $ip: "192.0.2.1", $url: "/a", $lib: "tidegate" };
  const own = { $os: "iOS", $ip: "mine", $url: "/a", $user_id: "u", plan: "pro" };
  const logged = warnings(() => {
    for (const _ of [1, 2]) {
      const made = sdk.beside(own, said, (name) => name === "$user_id");
      assert.deepEqual(made, { $os: "iOS", own_$ip: "mine", $url: "/a", own_$user_id: "u", plan: "pro", $ip: "192.0.2.1", $lib: "tidegate" });
    }
    assert.deepEqual(sdk.beside({ a: 1 }, { b: undefined }), { a: 1 });
    assert.deepEqual(sdk.beside({ ["x".repeat(1000)]: 1 }, {}, () => true), { [`own_${"x".repeat(1000)}`]: 1 });
  });
  assert.deepEqual(logged.slice(0, 2), [
    'the tool has "$ip" for itself: the event\'s own goes along as "own_$ip"',
    'the tool has "$user_id" for itself: the event\'s own goes along as "own_$user_id"',
  ]);
  assert.ok(logged.length === 3 && logged[2].length < 300, logged[2]);
});

test("an id that is long costs no more than its length", () => {
  const long = `a${" ".repeat(100_000)}"`.repeat(10);
  assert.equal(sdk.somebody(long), long);
});

test("options for a tool stand under each spelling of its name", () => {
  for (const name of ["Actions Amplitude", "amplitude", "AMPLITUDE", "Amplitude (Actions)", "Amplitude Web Mode", " amp-li_tude "]) {
    assert.equal(sdk.spelling(name), "amplitude", name);
  }
  for (const [name, spelled] of [["Cloud", "cloud"], ["(Actions)", "actions"], ["Größe 4", "größe4"], ["電気-1", "電気1"], ["", ""]]) {
    assert.equal(sdk.spelling(name), spelled);
  }
  const integrations = { All: false, AMP: { a: 1 }, Mixpanel: { a: 2 }, "Actions Amplitude": { a: 3 }, amplitude: true, Amplitude: { a: 4 } };
  assert.deepEqual(sdk.integrationOptions({ integrations }, "Amplitude", "AMP"), [{ a: 3 }, { a: 4 }, { a: 1 }]);
  for (const integrations of [undefined, null, [], "Amplitude", { Amplitude: [] }]) {
    assert.deepEqual(sdk.integrationOptions({ integrations }, "Amplitude"), []);
  }
});

test("people to forget are planned by `forget`, and a tool that has nobody of that name is done", () => {
  const plugin = {
    prepare: () => ({ requests: [] }),
    forget: (people) => ({ requests: people.map(({ userId }, person) => ({ method: "DELETE", url: `https://a.example/${userId}`, events: [person] })) }),
  };
  sdk.destinationWorld(plugin, { host, secrets: null });
  const { prepare, classify } = sdk.forgetWorld(plugin);
  const plan = prepare(['{"type":"forget","userId":"ann"}']);
  assert.deepEqual(plan.requests.map(({ method, url, events }) => [method, url, events]), [["delete", "https://a.example/ann", [0]]]);
  const verdict = (status, body) => classify("", [0], { status, headers: [], body: sdk.encode(body), attempt: 1 });
  assert.equal(verdict(200, "").tag, "delivered");
  assert.equal(verdict(404, '{"message":"no such user"}').tag, "delivered");
  assert.equal(verdict(404, "<html>").tag, "retry");
  assert.equal(verdict(403, "{}").tag, "disable");
  assert.throws(() => sdk.forgetWorld({ prepare() {} }), /no function forget/);
});
