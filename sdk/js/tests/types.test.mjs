// Whether the types name what there is. What they say of it `tsc` reads, with the plugins in TypeScript.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const read = (file) => readFileSync(new URL(`../${file}`, import.meta.url), "utf8");

/** The names of values that a text exports. */
const exported = (text) => Array.from(text.matchAll(/^\s*export (?:const|class|function) (\w+)/gm), (found) => found[1]);

// What only the entry file of a plugin imports, and what other modules of the SDK do.
const INNER = ["transformWorld", "fieldsWorld", "destinationWorld", "forgetWorld", "settled", "text", "kind", "toHostJson", "hasNotFinite"];

test("the types name all that a plugin can import, and nothing else", () => {
  const modules = Array.from(read("tidegate.js").matchAll(/export \* from "\.\/(\w+\.js)"/g), (found) => found[1]);
  assert.ok(modules.length > 5);
  const given = modules.flatMap((module) => exported(read(module))).filter((name) => !INNER.includes(name));
  assert.deepEqual(new Set(exported(read("tidegate.d.ts"))), new Set(given));
});
