// Reads a function that was written for another product and says, as JSON, which functions it has and what of it cannot
// run here, with lines. Given to node as text, with NODE_MODULES FILE WHAT behind it, where WHAT is JSON: `provided`, names that
// the product puts into the file's world; `libraries`, what may be imported; `metadata`, functions whose second parameter
// gives metadata, and `keys`, what of it there is.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, file, what] = process.argv.slice(1);
const { provided, libraries, metadata, keys } = JSON.parse(what);
const { parse } = createRequire(`${modules}/`)("acorn");

const KNOWN = new Set(`Object Array JSON Math Date RegExp Map Set WeakMap WeakSet WeakRef Promise Symbol Proxy Reflect Error
AggregateError EvalError RangeError ReferenceError SyntaxError TypeError URIError parseInt parseFloat isNaN isFinite
encodeURIComponent decodeURIComponent encodeURI decodeURI escape unescape globalThis undefined NaN Infinity String Number
Boolean BigInt Function ArrayBuffer DataView Int8Array Uint8Array Uint8ClampedArray Int16Array Uint16Array Int32Array
Uint32Array Float32Array Float64Array BigInt64Array BigUint64Array console TextEncoder TextDecoder atob btoa
queueMicrotask structuredClone arguments`.split(/\s+/));
const NO_NETWORK = "there is no network; what sends events somewhere is a destination plugin (`tidegate destination new NAME --lang js`), "
  + "and what reads something about them is a table that is looked up (docs/lookups.md)";
const WHY = {
  fetch: NO_NETWORK, fetchV2: NO_NETWORK, XMLHttpRequest: NO_NETWORK, WebSocket: NO_NETWORK,
  require: "`require` is not there; write the function with `tidegate function new`, where `npm install` and `import` work", process: "there is no process or environment",
  setTimeout: "there are no timers", setInterval: "there are no timers", setImmediate: "there are no timers",
  Buffer: "that is Node.js; use TextEncoder and Uint8Array", crypto: "there is no crypto library", module: "write `export`, not `module.exports`",
  exports: "write `export function`, not `exports.x`", window: "there is no browser", document: "there is no browser",
  getCredential: "there are no stored credentials", getCredentials: "there are no stored credentials", geolocation: "there is no location service",
  _: "lodash is not here", Segment: "there is no event to make from a request here", eval: "code cannot be made at run time",
  URL: "there is no URL class", URLSearchParams: "there is no URLSearchParams class", cache: "there is nothing to keep between batches",
};

const text = readFileSync(file, "utf8");
const found = { functions: [], exported: [], unsupported: [], imports: [], metadata: [], error: null };

function names(pattern, into) {
  if (!pattern) return;
  if (pattern.type === "Identifier") into.add(pattern.name);
  else if (pattern.type === "ObjectPattern") pattern.properties.forEach((p) => names(p.value ?? p.argument, into));
  else if (pattern.type === "ArrayPattern") pattern.elements.forEach((p) => names(p, into));
  else if (pattern.type === "AssignmentPattern") names(pattern.left, into);
  else if (pattern.type === "RestElement") names(pattern.argument, into);
}

const children = (node) => Object.entries(node).flatMap(([key, value]) =>
  key === "type" ? [] : Array.isArray(value) ? value.filter((v) => v?.type) : value?.type ? [value] : []);

/** What `nodes` declare for the scope that they stand in; `var` reaches out of blocks but not out of functions. */
function declared(nodes, into, onlyVar = false) {
  for (const node of nodes) {
    if (node.type === "VariableDeclaration" && (!onlyVar || node.kind === "var")) node.declarations.forEach((d) => names(d.id, into));
    if ((node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") && node.id && !onlyVar) into.add(node.id.name);
    if (node.type.startsWith("Export") && node.declaration) declared([node.declaration], into, onlyVar);
    if (node.type === "ImportDeclaration") node.specifiers.forEach((s) => into.add(s.local.name));
    if (!/Function|Class/.test(node.type)) declared(children(node), into, true);
  }
  return into;
}

function say(node, what, why) {
  found.unsupported.push({ line: node.loc.start.line, what, why });
}

function free(node, scopes) {
  const name = node.name;
  if (KNOWN.has(name) || provided.includes(name) || scopes.some((scope) => scope.has(name))) return;
  say(node, name, WHY[name] ?? "there is nothing of that name here");
}

function walk(node, scopes) {
  switch (node.type) {
    case "Identifier":
      return free(node, scopes);
    case "ImportDeclaration":
      if (libraries?.includes(node.source.value)) return found.imports.push(node.source.value);
      if (libraries) return say(node, `import "${node.source.value}"`, `it is a library; give its file: --library ${node.source.value}=FILE`);
      return say(node, `import "${node.source.value}"`, "an imported file stays alone; write the function with `tidegate function new`, where `npm install` and `import` work");
    case "ImportExpression":
      return say(node, "import()", "modules cannot be loaded at run time");
    case "UnaryExpression":
      if (node.operator === "typeof" && node.argument.type === "Identifier") return;
      break;
    case "MemberExpression":
      walk(node.object, scopes);
      if (node.computed) walk(node.property, scopes);
      return;
    case "Property": case "PropertyDefinition": case "MethodDefinition":
      if (node.computed) walk(node.key, scopes);
      if (node.value) walk(node.value, scopes);
      return;
    case "LabeledStatement":
      return walk(node.body, scopes);
    case "BreakStatement": case "ContinueStatement": case "MetaProperty":
      return;
    case "ExportNamedDeclaration":
      if (node.source) say(node, `export from "${node.source.value}"`, "there are no libraries");
      if (node.declaration) walk(node.declaration, scopes);
      return;
    case "CatchClause": {
      const own = new Set();
      names(node.param, own);
      return walk(node.body, [own, ...scopes]);
    }
  }
  if (/Function/.test(node.type)) {
    const own = new Set(["arguments"]);
    if (node.id) own.add(node.id.name);
    node.params.forEach((p) => names(p, own));
    if (node.body.type === "BlockStatement") declared(node.body.body, own);
    node.params.forEach((p) => walk(p, [own, ...scopes]));
    return walk(node.body, [own, ...scopes]);
  }
  if (/^Class/.test(node.type)) {
    const own = new Set(node.id ? [node.id.name] : []);
    if (node.superClass) walk(node.superClass, scopes);
    return walk(node.body, [own, ...scopes]);
  }
  let inner = scopes;
  if (node.type === "BlockStatement" || node.type === "StaticBlock") inner = [declared(node.body, new Set()), ...scopes];
  if (node.type === "SwitchStatement") inner = [declared(node.cases.flatMap((c) => c.consequent), new Set()), ...scopes];
  if (/^For/.test(node.type)) inner = [declared([node.init ?? node.left].filter(Boolean), new Set()), ...scopes];
  for (const child of children(node)) walk(child, inner);
}

/** The function declared or assigned as `name` at the top of the file. */
function functionOf(tree, name) {
  const nodes = tree.body.map((node) => (/^Export/.test(node.type) && node.declaration) || node);
  for (const node of nodes) {
    if (node.type === "FunctionDeclaration" && node.id?.name === name) return node;
    if (node.type !== "VariableDeclaration") continue;
    const one = node.declarations.find((d) => d.id.name === name && /Function/.test(d.init?.type ?? ""));
    if (one) return one.init;
  }
  return null;
}

/** Which values of the metadata are used, with the parents of every node: `metadata(event).sourceId` and its like. */
function usesOfMetadata(tree) {
  const parents = new Map();
  const nodes = [];
  (function visit(node) {
    nodes.push(node);
    for (const child of children(node)) { parents.set(child, node); visit(child); }
  })(tree);
  const within = (node, outer) => { for (let at = node; at; at = parents.get(at)) if (at === outer) return true; return false; };
  const isUse = (node, name) => {
    const parent = parents.get(node);
    return node.type === "Identifier" && node.name === name && !(parent.type === "MemberExpression" && parent.property === node && !parent.computed)
      && !(parent.type === "Property" && parent.key === node && parent.value !== node);
  };
  const used = (node, key) => {
    if (keys.includes(key)) found.metadata.push(key);
    else say(node, `metadata().${key}`, `there is no such value here; there are ${keys.join(", ")}`);
  };
  const whole = (node) => say(node, "metadata", "which of its values are needed cannot be told; write `metadata(event).sourceId` and its like");
  const object = (value, holder) => {
    const parent = parents.get(value);
    if (parent.type === "AwaitExpression") return object(parent, holder);
    if (/^(Member|Chain)Expression$/.test(parent.type) && parent.object === value) {
      return parent.computed ? whole(value) : used(parent, parent.property.name);
    }
    if (parent.type === "VariableDeclarator" && parent.init === value) {
      if (parent.id.type === "ObjectPattern" && parent.id.properties.every((p) => p.type === "Property" && !p.computed)) {
        return parent.id.properties.forEach((p) => used(p, p.key.name ?? p.key.value));
      }
      if (parent.id.type === "Identifier") {
        const uses = nodes.filter((n) => n !== parent.id && isUse(n, parent.id.name) && within(n, holder));
        return uses.forEach((use) => object(use, holder));
      }
    }
    whole(value);
  };
  const seen = new Set();
  const follow = (name, index) => {
    const holder = functionOf(tree, name);
    const parameter = holder?.params[index];
    if (!parameter || seen.has(`${name}/${index}`)) return;
    seen.add(`${name}/${index}`);
    if (parameter.type !== "Identifier") return whole(parameter);
    for (const use of nodes.filter((n) => n !== parameter && isUse(n, parameter.name) && within(n, holder))) {
      const parent = parents.get(use);
      if (parent.type === "CallExpression" && parent.callee === use) object(parent, holder);
      else if (parent.type === "CallExpression" && parent.callee.type === "Identifier" && functionOf(tree, parent.callee.name)) {
        follow(parent.callee.name, parent.arguments.indexOf(use));
      } else whole(use);
    }
  };
  // The wrapper calls the first that there is.
  const called = metadata.find((name) => functionOf(tree, name));
  if (called) follow(called, 1);
}

try {
  const tree = parse(text, { ecmaVersion: "latest", sourceType: "module", locations: true, allowAwaitOutsideFunction: false });
  const top = declared(tree.body, new Set());
  found.functions = [...top];
  for (const node of tree.body) {
    if (node.type === "ExportNamedDeclaration") {
      if (node.declaration) declared([node.declaration], new Set()).forEach((name) => found.exported.push(name));
      node.specifiers.forEach((s) => found.exported.push(s.exported.name));
    }
    if (node.type === "ExportDefaultDeclaration") found.exported.push("default");
    walk(node, [top]);
  }
  if (metadata) usesOfMetadata(tree);
} catch (error) {
  found.error = { line: error.loc?.line ?? 1, message: String(error.message).replace(/ \(\d+:\d+\)$/, "") };
}
console.log(JSON.stringify(found));
