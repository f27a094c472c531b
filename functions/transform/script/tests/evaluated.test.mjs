// What is evaluated of a script. Start with: node --test functions/transform/script/tests/*.test.mjs

import assert from "node:assert/strict";
import test from "node:test";

import { evaluated } from "../src/evaluated.js";
import { ScriptModule } from "../src/module.js";

class PluginError extends Error {
  constructor(code, message, kind) {
    super(message);
    Object.assign(this, { code, kind });
  }
}
const sdk = { PluginError, drop: (reason) => ({ dropped: reason }), emit: (...events) => ({ events }) };

const transformed = (script, event = {}) => evaluated(script, sdk).transform(event, { settings: {} });

/** What is said against a script, which is none of the interpreter. */
function reason(script) {
  try {
    evaluated(script, sdk);
  } catch (error) {
    assert.ok(error instanceof PluginError, `${script}: ${error}`);
    return error.message;
  }
  return assert.fail(`nothing is wrong with ${script}`);
}

/** Whether the interpreter says that this cannot be read; nothing of it has run. */
function unreadable(script) {
  globalThis.ran = false;
  assert.throws(() => evaluated(script, sdk), SyntaxError, script);
  assert.equal(globalThis.ran, false, script);
}

test("imports and exports are found wherever a statement begins", () => {
  for (const script of [
    "export function transform() { return 7; }",
    "  export function transform() { return 7; }",
    "\texport\n  function transform() { return 7; }",
    "/* what it does */ export function transform() { return 7; }",
    "const seven = 7; export const transform = () => seven;",
    "const seven = 7\nexport const transform = () => seven",
    "function six() { return 6 } export function transform() { return six() + 1; }",
    "const six = () => {}\n  export let transform = () => 7",
    "class Six {} /**/ export var transform = () => 7;",
    "if (true) {} export function transform() { return 7; }",
    "'use strict'; export function transform() { return 7; }",
    "function mark() { return 7; }\nexport { mark as transform };",
    "export { mark as transform, six, }; const six = 6; function mark() { return six + 1; }",
    "export {\r\n  // the one\r\n  mark as /* so */ transform\r\n}\r\nconst mark = () => 7;\r\n",
    "const mark = () => 7; export { mark as 'transform' }\n(0);",
    "export { transform }; export {}; export { drop }; function transform() { return 7; } import { drop } from 'tidegate';",
    "#!/usr/bin/env node\nexport function transform() { return 7; }",
    "\uFEFFexport function transform() { return 7; }",
    "\uFEFF#! export {\nexport function transform() { return 7; }",
    "export function transform() { return 7; } // the end",
    "export function transform() { return 7; } /* the end */",
    "export function transform() { return 7; }\r\n",
    "function transform() { return 7; }",
  ]) {
    assert.equal(transformed(script), 7, script);
  }
});

test("what is imported has its names, wherever it is imported", () => {
  const dropped = { dropped: "staff" };
  for (const script of [
    "import { drop } from \"tidegate\"; export const transform = () => drop('staff');",
    "  import { emit, drop as away, } from 'tidegate'\n(() => {})();\n export const transform = () => away('staff');",
    "/* it */ import * as tidegate from 'tidegate';export const transform = () => tidegate.drop('staff')",
    "const now = away('staff'); export const transform = () => now\nimport { drop as away } from 'tidegate'",
    "import 'tidegate'; import {} from \"tidegate\"; export const transform = () => drop('staff')",
    "import { // a comment\n  drop, /* and another one } */ emit\n} from 'tidegate';\nexport const transform = () => drop('staff')",
    "export const transform = () => drop('staff');\nconst a = 1\nimport { emit } from 'tidegate'\n[a].at(0);",
  ]) {
    assert.deepEqual(transformed(script), dropped, script);
  }
  assert.equal(transformed("const drop = 7; export const transform = () => drop;"), 7, "a name of the SDK has another meaning");
});

test("words that are no statements stay what they are", () => {
  const text = [
    "const shown = `", "import x from \"lodash\"", "export default ${ `", "export ${ { export: 1 }.export }` }", "`; /*", "import x from 'lodash'", "*/ const found = /[`/\"]export/;",
    "// export default", "const members = { import: 1, export: 2, get default() { return 3 }, async import2() {} }; members.import += members", ".export / 2 / /\"/.source.length;",
    "class Members { import = 1; static export = 2", "export2() {} import(x) { return x } get export() { return 1 / 2 } }", "function spelled() { return 'export {' + \"import(\"; }",
    "const f = function () {} / 2, g = { a: 1 } / 2; label: { } /\"export/.test(''); if (f) /'import/.test('');",
  ].join("\n");
  const script = `${text}\nexport function transform() { return shown + members.import; }`;
  const { text: made } = new ScriptModule(script, sdk);
  assert.equal(made, `${text}\n       function transform() { return shown + members.import; }`);
  assert.equal(transformed(script), "\nimport x from \"lodash\"\nexport default \nexport 1\n2");
});

test("every line and column of what is evaluated is that of the script", () => {
  const script = "#! a\r\n  import {\r\n drop as away } from 'tidegate'; here(1);\r\nexport { a as b,\n c, }; here(2); export  async  function transform() { here(3) }\n";
  const { text } = new ScriptModule(script, sdk);
  assert.equal(text.length, script.length);
  for (const place of ["here(1)", "here(2)", "here(3)", "function", "\r\n", "c"]) {
    assert.equal(text.lastIndexOf(place), script.lastIndexOf(place), `${place}: ${text}`);
  }
});

test("what a script cannot have is said with its line, its column and what to write", () => {
  for (const [script, place, ...said] of [
    ["\n  export default function transform() {}", "2:3", "default", "export function transform(event, context) { ... }"],
    ["// it\nconst a = 1; export default async (event) => event;", "2:14", "default"],
    ["export { a as default }; const a = 1;", "1:10", "default"],
    [" export * from 'tidegate'", "1:2", "nothing of others"],
    ["\nexport { drop } from 'tidegate'", "2:1", "nothing of others"],
    ["const transform = 1;\n/**/ export transform;", "2:6", "export { transform }"],
    ["export async (event) => event", "1:1", "export function transform"],
    ["export { transform as }", "1:10", "export { transform }"],
    ["export { transform", "1:1", "export { transform }"],
    ["function a() {\n  export function transform() {}\n}", "2:3", "inside", "outside of functions"],
    ["const a = 1 + export", "1:15", "inside"],
    ["export { nobody as transform }", "1:10", "exports nobody"],
    ["export { a, b as a }; let a, b;", "1:13", "a is exported twice"],
    ["\n\n  import x from 'lodash'", "3:3", "tidegate function build"],
    ["const a = 1; import 'lodash'", "1:14", "'lodash'", "tidegate function build"],
    ["\timport * as all from \"lodash\"", "1:2", "tidegate function build"],
    ["import tidegate from 'tidegate'", "1:1", "import { drop } from \"tidegate\""],
    ["import type { Event } from 'tidegate'", "1:1", "import { drop } from \"tidegate\""],
    ["import { 'drop' as away } from 'tidegate'", "1:1", "import { drop } from \"tidegate\""],
    [" import { dropp } from 'tidegate'", "1:2", "exports no dropp"],
    [" import { toString } from 'tidegate'", "1:2", "exports no toString"],
    ["import { drop } from 'tidegate';\n import { emit as drop } from 'tidegate'", "2:2", "drop is imported twice"],
    ["import { drop as if } from 'tidegate'", "1:1", "if cannot be a name"],
    ["function a() { import { drop } from 'tidegate' }", "1:16", "inside"],
    ["async function a() {\n  return import('lodash')\n}", "2:10", "loads nothing"],
    ["const a = { b: import('lodash') }", "1:16", "loads nothing"],
    ["const a = import.meta.url", "1:11", "import.meta"],
    ["export function transform() {}\n/* and so on", "2:1", "comment", "no end"],
    ["const a = `b\nc ${ d } e\n", "2:8", "template", "no end"],
    ["const a = 1;\n  b('c);\n", "2:5", "string", "no end"],
    ["const a = 1;\n --> b", "2:2", "//"],
    ["const a = 1; <!-- b", "1:14", "//"],
  ]) {
    const message = reason(script);
    assert.ok(message.endsWith(`(script.js:${place})`), `${script}: ${message}`);
    for (const text of said) assert.ok(message.includes(text), `${script}: ${message}`);
  }
  assert.match(reason("const a = 1;"), /no function transform/);
});

test("a script is read by itself, and closes nothing that is around it", () => {
  const transform = "export function transform() {}";
  for (const script of [
    `${transform} }`,
    `${transform}\n}\nglobalThis.ran = true; {`,
    `${transform}\n})(); })(); globalThis.ran = true; (function () { (function () {`,
    `${transform}\nreturn { transform() {} }; })(); }); globalThis.ran = true; //`,
    `globalThis.ran = true;\n${transform})`,
    `globalThis.ran = true;\n${transform}\nreturn 7;`,
    `globalThis.ran = true; new.target; ${transform}`,
    `globalThis.ran = true; export { if }; ${transform}`,
    "globalThis.ran = true;\nexport function transform() {",
    "globalThis.ran = true;\nexport function transform() { /a",
    `globalThis.ran = true; import { drop } from "tidegate"; const drop = 1; ${transform}`,
    `globalThis.ran = true; with ({}) { } ${transform}`,
  ]) {
    unreadable(script);
  }
});
