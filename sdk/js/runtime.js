// What stands between a plugin and the host. The engine is QuickJS: ES2023, no DOM, no Node, no timers, no network.

import { classifyByStatus, classifyDeletion } from "./delivery.js";
import { PluginError, RetryBatch, hasNotFinite, kind, text, toHostJson, toJson } from "./errors.js";

/** What the host grants; filled in by the entry file before any event arrives. */
const granted = { host: null, lookup: null, secrets: null, fields: null };
/** Settings of the plugin, parsed once. */
let settings = {};
const U32_MAX = 0xffffffff;

class Outcome {
  constructor(tag, val) {
    this.tag = tag;
    this.val = val;
  }
}

/** Leaves the event as it is: nothing is copied back. */
export const keep = new Outcome("keep");
/** Filters the event on purpose; `reason` is a short code that shows in the live view. */
export const drop = (reason) => new Outcome("drop", text(reason, "the reason of drop()"));
/** Puts this one event into quarantine. */
export const fail = (code, message) => new Outcome("fail", pluginError("invalid-event", code, message));

export const log = {
  debug: (...parts) => granted.host?.log("debug", parts.map(shown).join(" ")),
  info: (...parts) => granted.host?.log("info", parts.map(shown).join(" ")),
  warn: (...parts) => granted.host?.log("warn", parts.map(shown).join(" ")),
  error: (...parts) => granted.host?.log("error", parts.map(shown).join(" ")),
};
globalThis.console = { ...log, log: log.info, trace: log.debug };

/** Adds to a counter of this plugin. */
export function count(name, delta = 1) {
  if (!Number.isInteger(delta) || delta < 0 || delta > U32_MAX) throw new TypeError(`count: the delta is ${shown(delta)}, not a whole number from 0`);
  granted.host.count(text(name, "count: the name"), delta);
}
/** Unix milliseconds of the batch: the same for all its events, and the same on replay. */
export const now = () => Number(granted.host.nowMs());
/** Seed of the batch, the same on replay. */
export const seed = () => Number(granted.host.seed());
/** The entry for `key` in a table that the manifest names under `lookups`; null when there is none. */
export function lookup(table, key) {
  if (!granted.lookup) throw new Error("lookup() is not granted to this kind of plugin");
  const entry = granted.lookup.get(text(table, "lookup: the table"), text(key, "lookup: the key"));
  return entry === null || entry === undefined ? null : JSON.parse(entry);
}
/** HMAC of `data` (text or bytes) under the secret called `secret`; as bytes. The plugin never sees the secret. */
export function sign(algorithm, secret, data) {
  if (!granted.secrets) throw new Error("sign() is for destinations");
  if (!["sha1", "sha256", "sha512"].includes(algorithm)) throw new TypeError(`sign: the algorithm is ${shown(algorithm)}; use sha1, sha256 or sha512`);
  if (typeof secret !== "string" && !(secret instanceof Uint8Array)) throw new TypeError(`sign: the secret is ${kind(secret)}, not a name or bytes`);
  if (typeof data !== "string" && !(data instanceof Uint8Array)) throw new TypeError(`sign: the data is ${kind(data)}, not text or bytes`);
  const key = typeof secret === "string" ? { tag: "named", val: secret } : { tag: "derived", val: secret };
  return granted.secrets.sign(`hmac-${algorithm}`, key, typeof data === "string" ? encode(data) : data);
}
/** A JSON pointer for the fields world, such as "/properties/email". Make it once, at the top of the file. */
export class Path {
  constructor(pointer) {
    // The host would trap on it, at the first event; this says so while the plugin is built.
    if (typeof pointer !== "string" || !pointer.startsWith("/")) throw new TypeError(`${shown(pointer)} is no JSON pointer; write "/properties/name"`);
    this.pointer = pointer;
    this.handle = null;
  }
  get at() {
    return (this.handle ??= new granted.fields.Path(this.pointer));
  }
}
export const path = (pointer) => new Path(pointer);

/** UTF-8 bytes of `text`. */
export function encode(text) {
  const plain = unescape(encodeURIComponent(text.isWellFormed?.() === false ? text.toWellFormed() : text));
  const bytes = new Uint8Array(plain.length);
  for (let i = 0; i < plain.length; i++) bytes[i] = plain.charCodeAt(i);
  return bytes;
}

/** The text of UTF-8 `bytes`; what is no UTF-8 is read as Latin-1. */
export function decode(bytes) {
  let plain = "";
  for (let i = 0; i < bytes.length; i += 4096) plain += String.fromCharCode(...bytes.slice(i, i + 4096));
  try {
    return decodeURIComponent(escape(plain));
  } catch {
    return plain;
  }
}
globalThis.TextEncoder ??= class {
  encode(text = "") {
    return encode(String(text));
  }
};
globalThis.TextDecoder ??= class {
  decode(bytes = []) {
    return decode(bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes);
  }
};

// --- time and chance -------------------------------------------------------------------------------------------------

/** The text of the event at hand: chance depends on it and on the seed, not on what ran before. */
let current = "";
let chance = null;

const NativeDate = Date;
globalThis.Date = class Date extends NativeDate {
  constructor(...parts) {
    if (parts.length === 0) super(granted.host ? now() : 0);
    else super(...parts);
  }
  static now() {
    return granted.host ? now() : 0;
  }
};

Math.random = () => {
  if (chance === null) {
    chance = (granted.host ? seed() : 1) | 0;
    for (let i = 0; i < current.length; i++) chance = (Math.imul(chance, 31) + current.charCodeAt(i)) | 0;
  }
  chance = (chance + 0x6d2b79f5) | 0;
  let mixed = Math.imul(chance ^ (chance >>> 15), 1 | chance);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
};

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
globalThis.btoa ??= (text) => {
  let out = "";
  for (let i = 0; i < text.length; i += 3) {
    const [a, b, c] = [0, 1, 2].map((at) => text.charCodeAt(i + at));
    if (a > 255 || b > 255 || c > 255) throw new RangeError("btoa takes bytes; encode the text first");
    const bits = (a << 16) | ((b || 0) << 8) | (c || 0);
    out += BASE64[bits >> 18] + BASE64[(bits >> 12) & 63] + (b === b ? BASE64[(bits >> 6) & 63] : "=") + (c === c ? BASE64[bits & 63] : "=");
  }
  return out;
};
globalThis.atob ??= (text) => {
  let out = "", bits = 0, count = 0;
  for (const digit of text.replace(/[=\s]/g, "")) {
    const value = BASE64.indexOf(digit);
    if (value < 0) throw new RangeError("atob: that is no base 64");
    bits = (bits << 6) | value;
    if ((count += 6) >= 8) out += String.fromCharCode((bits >> (count -= 8)) & 255);
  }
  return out;
};
/** A deep copy; `seen` has what was copied already, so that cycles end. Numbers stay what they are, also beyond JSON. */
function copied(value, seen) {
  if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`a ${typeof value} cannot be cloned`);
  if (value === null || typeof value !== "object") return value;
  if (seen.has(value)) return seen.get(value);
  const keep = (copy) => (seen.set(value, copy), copy);
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof DataView) return keep(new DataView(copied(value.buffer, seen), value.byteOffset, value.byteLength));
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return keep(value.slice());
  if (value instanceof Map) {
    const copy = keep(new Map());
    value.forEach((inner, key) => copy.set(copied(key, seen), copied(inner, seen)));
    return copy;
  }
  if (value instanceof Set) {
    const copy = keep(new Set());
    value.forEach((inner) => copy.add(copied(inner, seen)));
    return copy;
  }
  const copy = keep(Array.isArray(value) ? new Array(value.length) : {});
  // Not by assignment, for which `__proto__` is no key like others.
  for (const key of Object.keys(value)) {
    Object.defineProperty(copy, key, { value: copied(value[key], seen), writable: true, enumerable: true, configurable: true });
  }
  return copy;
}
globalThis.structuredClone ??= (value) => copied(value, new Map());

// --- promises ------------------------------------------------------------------------------------------------------
// There is no event loop. The bundler turns `async` functions into promises, and these run when they are asked for.

const waiting = [];

class LocalPromise {
  constructor(work) {
    this.state = "pending";
    this.value = undefined;
    this.reactions = [];
    const settle = (state) => (value) => {
      if (this.state !== "pending" || this.following) return;
      if (state === "fulfilled" && value !== null && (typeof value === "object" || typeof value === "function")) {
        try {
          if (typeof value.then === "function") {
            this.following = true;
            value.then((inner) => this.finish("fulfilled", inner), (reason) => this.finish("rejected", reason));
            return;
          }
        } catch (error) {
          return this.finish("rejected", error);
        }
      }
      this.finish(state, value);
    };
    try {
      work(settle("fulfilled"), settle("rejected"));
    } catch (error) {
      settle("rejected")(error);
    }
  }
  finish(state, value) {
    if (this.state !== "pending") return;
    this.state = state;
    this.value = value;
    waiting.push(...this.reactions);
    this.reactions = [];
  }
  then(onFulfilled, onRejected) {
    return new LocalPromise((resolve, reject) => {
      const reaction = () => {
        const handler = this.state === "fulfilled" ? onFulfilled : onRejected;
        if (typeof handler !== "function") return this.state === "fulfilled" ? resolve(this.value) : reject(this.value);
        try {
          resolve(handler(this.value));
        } catch (error) {
          reject(error);
        }
      };
      if (this.state === "pending") this.reactions.push(reaction);
      else waiting.push(reaction);
    });
  }
  catch(onRejected) {
    return this.then(undefined, onRejected);
  }
  finally(work) {
    return this.then(
      (value) => LocalPromise.resolve(work()).then(() => value),
      (reason) => LocalPromise.resolve(work()).then(() => LocalPromise.reject(reason)),
    );
  }
  static resolve(value) {
    return value instanceof LocalPromise ? value : new LocalPromise((resolve) => resolve(value));
  }
  static reject(reason) {
    return new LocalPromise((_, reject) => reject(reason));
  }
  static all(values) {
    return LocalPromise.gather(values, (value) => value, (reason) => { throw reason; });
  }
  static allSettled(values) {
    return LocalPromise.gather(values, (value) => ({ status: "fulfilled", value }), (reason) => ({ status: "rejected", reason }));
  }
  static gather(values, onFulfilled, onRejected) {
    return new LocalPromise((resolve, reject) => {
      const results = [];
      let missing = 1;
      const one = () => --missing === 0 && resolve(results);
      [...values].forEach((value, index) => {
        missing++;
        LocalPromise.resolve(value).then(onFulfilled, onRejected).then((result) => { results[index] = result; one(); }, reject);
      });
      one();
    });
  }
  static race(values) {
    return new LocalPromise((resolve, reject) => { for (const value of values) LocalPromise.resolve(value).then(resolve, reject); });
  }
}
globalThis.Promise = LocalPromise;
globalThis.queueMicrotask = (work) => waiting.push(work);

/** What `value` comes to, now: whatever waits for something that is not there yet waits for ever. */
export function settled(value) {
  if (value === null || typeof value !== "object" || typeof value.then !== "function") return value;
  const promise = LocalPromise.resolve(value);
  while (waiting.length > 0) waiting.shift()();
  if (promise.state === "fulfilled") return promise.value;
  if (promise.state === "rejected") throw promise.value;
  throw new TypeError("the promise is never settled: there is no timer and no network to wait for");
}

// --- what the entry file exports ------------------------------------------------------------------------------------

export function transformWorld(plugin, services) {
  Object.assign(granted, services);
  needs(plugin, "transform");
  const context = { get settings() { return settings; }, get now() { return now(); }, get seed() { return seed(); } };
  const transform = (batch) => guarded(() => batch.map((json) => {
    current = json;
    chance = null;
    return one(() => settled(plugin.transform(JSON.parse(json), context)));
  }));
  return { lifecycle: lifecycle(plugin), transformer: { transform } };
}

export function fieldsWorld(plugin, services) {
  Object.assign(granted, services);
  needs(plugin, "transform");
  const transform = (events) => guarded(() => {
    const context = { settings, now: now(), seed: seed() };
    for (let index = 0; index < events; index++) {
      try {
        const outcome = settled(plugin.transform(new Fields(index), context));
        if (outcome instanceof Outcome) mark(index, outcome);
        else if (outcome !== undefined) throw new TypeError(`transform returned ${kind(outcome)}; return nothing, drop() or fail()`);
      } catch (error) {
        if (error instanceof RetryBatch) throw error;
        const { code, message } = caught(error);
        granted.fields.failEvent(index, code, message);
      }
    }
  });
  return { lifecycle: lifecycle(plugin), fieldTransformer: { transform } };
}

export function destinationWorld(plugin, services) {
  Object.assign(granted, services);
  needs(plugin, "prepare");
  const { prepare, classify } = planned((...given) => plugin.prepare(...given), (...given) => (plugin.classify ?? classifyByStatus)(...given));
  return { lifecycle: lifecycle(plugin), destination: { prepare, classify } };
}

/** The export of a plugin whose manifest says `forget: true`. `destinationWorld` comes first. */
export function forgetWorld(plugin) {
  needs(plugin, "forget");
  return planned((...given) => plugin.forget(...given), (...given) => (plugin.classifyForget ?? classifyDeletion)(...given));
}

/** What plans requests and reads their answers, as the host calls it. */
function planned(prepareBatch, classifyAnswer) {
  const context = { get settings() { return settings; }, get now() { return now(); }, get seed() { return seed(); } };
  const prepare = (batch) => guarded(() => plan(settled(prepareBatch(batch.map((json) => JSON.parse(json)), context)), batch));
  const classify = (tag, events, response) => {
    try {
      const headers = {};
      for (const [name, value] of response.headers) headers[name.toLowerCase()] = value;
      const seen = {
        status: response.status, attempt: response.attempt, headers, body: response.body, nowMs: now(),
        get text() { return decode(response.body); },
        json() { return JSON.parse(decode(response.body)); },
      };
      return verdict(settled(classifyAnswer({ tag, events: [...events], response: seen }, context)));
    } catch (error) {
      if (error instanceof RetryBatch) return { tag: "retry", val: error.afterMs };
      // It says neither that the events arrived nor that they did not: sending them again could double them.
      return { tag: "rejected", val: caught(error) };
    }
  };
  return { prepare, classify };
}

function needs(plugin, name) {
  if (typeof plugin[name] !== "function") throw new Error(`the plugin exports no function ${name}; write: export function ${name}(...) {...}`);
}

function lifecycle(plugin) {
  return {
    configure(setup) {
      said.clear();
      settings = JSON.parse(setup.settingsJson);
      try {
        settled(plugin.configure?.(settings));
      } catch (error) {
        const { code, message } = caught(error);
        throw { kind: "invalid-config", code, message };
      }
    },
  };
}

/** A fault in this file or in a whole-batch function is a fault of the batch, with its stack in the log. */
function guarded(work) {
  try {
    return work();
  } catch (error) {
    if (error instanceof RetryBatch) {
      throw { tag: "retryable", val: [pluginError("internal", "retry", error.message), error.afterMs] };
    }
    throw { tag: "fatal", val: caught(error) };
  }
}

function one(work) {
  try {
    return outcome(work());
  } catch (error) {
    if (error instanceof RetryBatch) throw error;
    return { tag: "fail", val: caught(error) };
  }
}

function outcome(value) {
  if (value instanceof Outcome) return value.val === undefined ? { tag: value.tag } : { tag: value.tag, val: value.val };
  if (value === null) return { tag: "drop", val: "returned-null" };
  if (Array.isArray(value)) return { tag: "emit", val: value.map((event) => json(event)) };
  return { tag: "replace", val: json(value) };
}

function json(event) {
  if (event === null || typeof event !== "object" || Array.isArray(event) || typeof event.then === "function") {
    const more = event === undefined ? "; did you forget `return`? Return the event, null to drop it, or a list of events" : "";
    throw new TypeError(`transform returned ${kind(event)}, which is no event${more}`);
  }
  return toHostJson(event, () => hasNotFinite(JSON.parse(current)), current);
}

function plan(made, batch) {
  const events = batch.length;
  const isOfEvent = () => batch.some((json) => hasNotFinite(JSON.parse(json)));
  if (made === null || typeof made !== "object" || Array.isArray(made)) throw new TypeError(`prepare returned ${kind(made)}; return { requests: [...] }`);
  const index = (event, where) => {
    if (!Number.isInteger(event) || event < 0 || event >= events) throw new TypeError(`${where} names the event ${shown(event)}; the batch has the events 0 to ${events - 1}`);
    return event;
  };
  const list = (value, where) => {
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw new TypeError(`${where} is ${kind(value)}, not a list`);
    return value;
  };
  return {
    requests: list(made.requests, "requests").map((request, i) => {
      const where = `requests[${i}]`;
      const method = String(request.method ?? "POST").toLowerCase();
      if (!["get", "post", "put", "patch", "delete"].includes(method)) throw new TypeError(`${where}.method is ${shown(request.method)}`);
      const headers = Array.isArray(request.headers) ? request.headers : Object.entries(request.headers ?? {});
      return {
        method, url: text(request.url, `${where}.url`), headers: headers.map(([name, value]) => [name, String(value)]),
        body: bytes(request.body, isOfEvent), tag: String(request.tag ?? ""),
        events: list(request.events, `${where}.events`).map((event) => index(event, `${where}.events`)),
      };
    }),
    skipped: list(made.skipped, "skipped").map(({ event, reason }) => ({ event: index(event, "skipped"), reason: text(reason, "skipped.reason") })),
    failed: list(made.failed, "failed").map(({ event, code, message }) => ({ event: index(event, "failed"), error: pluginError("invalid-event", code, message) })),
  };
}

function bytes(body, isOfEvent) {
  if (body === undefined || body === null) return new Uint8Array();
  if (typeof body === "string") return encode(body);
  return body instanceof Uint8Array ? body : encode(toHostJson(body, isOfEvent));
}

function verdict(value) {
  if (value === "delivered" || value === "reauthenticate") return { tag: value };
  if (value === "retry") return { tag: "retry", val: null };
  const [tag, val] = Object.entries(value ?? {})[0] ?? [];
  if (tag === "retry") return { tag, val: val === null || val === undefined ? null : Math.min(Math.round(val), U32_MAX) };
  if (["rejected", "disable", "bisect"].includes(tag)) return { tag, val: pluginError(tag === "disable" ? "invalid-config" : "invalid-event", val.code, val.message) };
  if (tag === "partial") return { tag, val };
  throw new TypeError(`classify returned ${shown(value)}; return "delivered", "reauthenticate", { retry: ms }, { rejected: { code, message } }, { partial: [[event, retry]] }, { bisect: { code, message } } or { disable: { code, message } }`);
}

/** One event of the fields world. */
class Fields {
  constructor(index) {
    this.index = index;
  }
  getString(at) { return at.at.getString(this.index) ?? null; }
  getNumber(at) { return at.at.getNumber(this.index) ?? null; }
  getJson(at) {
    const json = at.at.getJson(this.index);
    return json === null || json === undefined ? undefined : JSON.parse(json);
  }
  has(at) { return at.at.has(this.index); }
  set(at, value) {
    if (value === undefined || typeof value === "function") throw new TypeError(`${at.pointer} cannot be set to ${kind(value)}; use remove() to take a field away`);
    const json = typeof value === "string" ? null : typeof value === "boolean" ? String(value) : toHostJson(value, () => true);
    try {
      if (json === null) at.at.setString(this.index, value);
      else at.at.setJson(this.index, json);
    } catch (reason) {
      throw new Error(`${at.pointer} cannot be set: ${shown(reason)}`);
    }
  }
  move(at, to) {
    try {
      return at.at.moveTo(this.index, to.at);
    } catch (reason) {
      throw new Error(`${at.pointer} cannot be moved to ${to.pointer}: ${shown(reason)}`);
    }
  }
  remove(at) { at.at.remove(this.index); }
}

function mark(index, outcome) {
  if (outcome.tag === "drop") granted.fields.dropEvent(index, outcome.val);
  else if (outcome.tag === "fail") granted.fields.failEvent(index, outcome.val.code, outcome.val.message);
}

/** Stacks that this batch has logged: a fault in every event is one line, not a flood. */
const said = new Set();

function caught(error) {
  if (error instanceof PluginError) return pluginError(error.kind ?? "invalid-event", error.code, error.message);
  const name = error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${shown(error)}`;
  const stack = error instanceof Error ? frames(error.stack ?? "") : [];
  const whole = [name, ...stack.map((frame) => `    at ${frame}`)].join("\n");
  if (!said.has(whole)) {
    said.add(whole);
    for (const line of whole.split("\n")) log.error(line);
  }
  return { kind: "internal", code: "js-exception", message: stack.length > 0 ? `${name} (${stack[0]})` : name };
}

/** The frames of the author's own files, innermost first. */
function frames(stack) {
  const lines = globalThis.__tidegate_lines ?? [];
  return stack.split("\n").flatMap((frame) => {
    const found = /^\s*at (?:(.*) \()?([^()]*?):(\d+)(?::(\d+))?\)?\s*$/.exec(frame);
    if (!found) return [];
    const [line, name] = [Number(found[3]), found[1] ? `${found[1]} ` : ""];
    // What was evaluated as a text is a script of the web console, behind one line of ours (functions/transform/script).
    if (found[2] === "<input>") return line > 1 ? [`${name}script.js:${line - 1}${found[4] ? `:${found[4]}` : ""}`] : [];
    let run = null;
    for (const candidate of lines) {
      if (candidate[0] > line) break;
      run = candidate;
    }
    if (!run || !run[1]) return [];
    return [`${name}${run[1]}:${run[2] + (run[3] ? line - run[0] : 0)}`];
  });
}

function pluginError(kind, code, message) {
  return { kind, code: text(code, "the code of an error"), message: String(message ?? "") };
}

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
