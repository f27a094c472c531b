// The cases that every SDK runs. Start with: node --test sdk/js/tests/*.test.mjs

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import * as commerce from "../commerce.js";
import * as delivery from "../delivery.js";
import * as event from "../event.js";
import * as people from "../people.js";

/** Runs `run(in)` for every case of a file; JSON has no undefined, so none is null. */
function cases(file, run) {
  const list = JSON.parse(readFileSync(new URL(`../../cases/${file}.json`, import.meta.url), "utf8"));
  assert.ok(list.length > 10);
  for (const one of list) {
    // JSON.parse rounds numbers of more than 53 bits.
    if (one.needs === "digits") continue;
    test(`${file}: ${one.name}`, () => assert.deepEqual(JSON.parse(JSON.stringify(run(one.in, one.out) ?? null)), one.out));
  }
}

const none = (members) => Object.fromEntries(Object.entries(members).map(([name, value]) => [name, value ?? null]));

const IDS = {
  user_id: event.userId, anonymous_id: event.anonymousId, group_id: event.groupId, message_id: event.messageId,
  previous_id: event.previousId, user: event.user,
};
cases("ids", (given, wanted) => none(Object.fromEntries(Object.keys(wanted).map((reader) => [reader, IDS[reader](given)]))));

cases("nobody", event.somebody);

cases("times", (timestamp) => event.time({ timestamp }));

cases("traits", (given, wanted) => {
  const seen = {
    traits: event.traits(given), properties: event.properties(given), name: event.name(given),
    context: none(Object.fromEntries(Object.keys(wanted.context ?? {}).map((path) => [path, event.context(given, path)]))),
  };
  return none(Object.fromEntries(Object.keys(wanted).map((member) => [member, seen[member]])));
});

cases("money", ({ call, value, properties, names }) => {
  switch (call) {
    case "number": return commerce.number(value);
    case "currency": return commerce.currency(value);
    case "money": return amount(commerce.money(properties, ...names));
    case "revenue": return amount(commerce.revenue(properties));
    case "items_total": return amount(commerce.itemsTotal(properties));
    default: throw new Error(`no call ${call}`);
  }
});
const amount = (money) => money && none(money);

cases("items", (properties) => {
  const { items, leftOut } = commerce.items(properties);
  const plain = ({ source, productId, imageUrl, ...item }) => ({ product_id: productId, image_url: imageUrl, ...item });
  return { items: items.map(plain), left_out: leftOut };
});

cases("phones", people.phone);

cases("hashes", ({ value, kind }) => people.hashed(value, kind));

cases("chunks", ({ records, count_max: count, bytes_max: bytes }) => {
  const plan = { failed: [] };
  const entries = records.map((value, event) => ({ event, value, json: JSON.stringify(value) }));
  const made = delivery.chunks(entries, { count, bytes }, plan).map(delivery.eventsOf);
  return { chunks: made, too_large: plan.failed.map((failed) => failed.event) };
});

cases("verdicts", ({ status, headers, body, now_ms: nowMs }) => {
  const verdict = delivery.classifyByStatus({ response: { status, headers, text: body, nowMs } });
  return verdict.bisect ? { bisect: verdict.bisect.code } : verdict;
});
