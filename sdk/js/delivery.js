// Events to requests within a tool's limits, and answers to verdicts.

import { PluginError, hasNotFinite, toHostJson } from "./errors.js";
import { asObject, instant, name, renamed } from "./event.js";

/** Throw it in `record`: the event does not apply here and is left out; the message is the reason. */
export class Skip extends Error {}

/**
 * What a tool that knows nothing but events calls one: a track by its own name, other types as `others` says, such as
 * `{ page: "Page Viewed" }`. A track without a name fails; a type that `others` lacks is skipped.
 */
export function eventName(event, others = {}) {
  if (event.type === "track") {
    const own = name(event);
    if (own === undefined) throw new PluginError("no-event-name", "a track event needs `event`");
    return own;
  }
  if (!Object.hasOwn(others, event.type)) throw new Skip(`${event.type} events are not sent`);
  return others[event.type];
}

/** The warnings of this batch: an instance lives for one. */
const warned = new Set();

/**
 * Logs a warning, once in a batch however many events it is about. It says what kind of thing happened and to which name, and
 * holds no value of an event: a log is no place for personal data.
 */
export function warnOnce(message) {
  if (warned.has(message)) return;
  warned.add(message);
  // The runtime makes this the host's log.
  console.warn(message);
}

/**
 * The properties `own` of an event with, over them, `said`: what the plugin says under names that mean something to the tool.
 * Where it says undefined, the event's own stays. Where both say something else, and where `isTaken` says that the tool must
 * not read a name from the event, the event's own goes along as `own_<name>`, and the log says so.
 */
export function beside(own, said, isTaken = () => false) {
  const spoken = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
  const isMoved = (name) => (Object.hasOwn(spoken, name) ? spoken[name] !== own[name] : isTaken(name));
  const moved = (name, to) => warnOnce(`the tool has ${quoted(name)} for itself: the event's own goes along as ${quoted(to)}`);
  return { ...renamed(own, "own_", isMoved, moved), ...spoken };
}

const quoted = (name) => JSON.stringify(name.slice(0, 100));

/**
 * What a destination exports: `record(event)` makes the tool's record of one event, `requests(entries, plan)` puts entries
 * (`{ event, value, json }`) into requests, `classify({ response, events, tag })` reads an answer. `record` throws Skip, or
 * PluginError to have one event in quarantine; whatever else it throws, and a record that is no JSON, costs that one event.
 */
export function destination({ configure = () => {}, record, requests, classify = classifyByStatus }) {
  function prepare(events) {
    const plan = { requests: [], skipped: [], failed: [] };
    const entries = [];
    events.forEach((given, event) => {
      try {
        if (asObject(given) !== given) throw new PluginError("not-an-object", "the event is no JSON object");
        // The record may change the event.
        const isInfinite = hasNotFinite(given);
        const value = record(given);
        entries.push({ event, value, json: toHostJson(value, () => isInfinite) });
      } catch (error) {
        if (error instanceof Skip) plan.skipped.push({ event, reason: error.message });
        else if (error instanceof PluginError) plan.failed.push({ event, code: error.code, message: error.message });
        else plan.failed.push({ event, code: "exception", message: `${error}\n${error?.stack ?? ""}`.slice(0, 500) });
      }
    });
    for (const request of requests(entries, plan)) {
      plan.requests.push({ ...request, headers: { "content-type": "application/json", ...request.headers } });
    }
    return plan;
  }
  return { configure, prepare, classify };
}

/** How many bytes `text` has in UTF-8; half a pair of surrogates counts as what replaces it. */
export function byteLength(text) {
  // A loop over the characters would take thirty times as long in QuickJS.
  return unescape(encodeURIComponent(text.toWellFormed?.() ?? text)).length;
}

/**
 * Runs of at most `count` entries whose JSON, with the commas between them, has at most `bytes` bytes. An entry that is
 * larger alone, or larger than `record` bytes, fails in `plan` with the code `too-large`. `weigh(entry)` says for how many
 * an entry counts; without it each is one.
 */
export function chunks(entries, { count, bytes, record = bytes, weigh = () => 1 }, plan) {
  const out = [];
  let used = 0;
  let counted = 0;
  for (const entry of entries) {
    const size = byteLength(entry.json);
    const last = out.at(-1);
    const most = Math.min(bytes, record);
    if (size > most) {
      plan.failed.push({ event: entry.event, code: "too-large", message: `the tool takes ${most} bytes; this event has ${size}` });
    } else if (!last || counted + weigh(entry) > count || used + 1 + size > bytes) {
      out.push([entry]);
      used = size;
      counted = weigh(entry);
    } else {
      last.push(entry);
      used += 1 + size;
      counted += weigh(entry);
    }
  }
  return out;
}

/** The events that the entries of a chunk stand for. */
export const eventsOf = (chunk) => chunk.map((entry) => entry.event);

/** The entries of a chunk as a JSON array. */
export const jsonArray = (chunk) => `[${chunk.map((entry) => entry.json).join(",")}]`;

/** The body as a JSON object; undefined when it is none. */
export function answerOf(response) {
  try {
    const answer = JSON.parse(response.text);
    return asObject(answer) === answer ? answer : undefined;
  } catch {
    return undefined;
  }
}

/** Another try, not before so many milliseconds; without them the host pauses as it sees fit. */
export const retry = (ms) => ({ retry: ms ?? null });
/** All events of the request go to quarantine. */
export const rejected = (code, message) => ({ rejected: { code, message } });
/** Stops the destination and tells its owner. */
export const disable = (code, message) => ({ disable: { code, message } });
/** Pairs of an event and whether to try it again (else it is rejected); all others of the request were delivered. */
export const partial = (pairs) => (pairs.length > 0 ? { partial: pairs } : "delivered");

/**
 * The tool refused a whole request, took nothing of it and names nobody. The host sends the events again in halves, at
 * once; an event that is refused alone goes to quarantine with this code.
 */
export const bisect = (code, message) => ({ bisect: { code, message } });

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Milliseconds that `Retry-After` asks to wait, given as seconds or as a date; undefined when it says nothing readable. */
export function retryAfterMs({ headers, nowMs = 0 }) {
  const said = (headers["retry-after"] ?? "").trim();
  if (/^\d+$/.test(said)) return Math.min(Number(said) * 1000, 0xffffffff);
  const date = /^\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d:\d\d:\d\d) GMT$/.exec(said);
  const at = date && instant(`${date[3]}-${String(MONTHS.indexOf(date[2]) + 1).padStart(2, "0")}-${date[1]}T${date[4]}Z`);
  return at ? Math.min(Math.max(at.ms - nowMs, 0), 0xffffffff) : undefined;
}

/** The beginning of the answer, for people. */
const excerpt = ({ status, text }) => `answered ${status}: ${text.slice(0, 300)}`;

/**
 * What most HTTP interfaces mean: 2xx delivered; 401 sign in again; 408, 423, 425, 429 and 5xx later, as `Retry-After`
 * says; a 403 or 404 whose body is no JSON comes from a proxy on the way and is tried later; anything else refuses the
 * request (see `bisect`).
 */
export function classifyByStatus({ response }) {
  const { status } = response;
  if (status >= 200 && status < 300) return "delivered";
  if (status === 401) return "reauthenticate";
  const isOfProxy = [403, 404].includes(status) && !answerOf(response);
  const later = [408, 423, 425, 429].includes(status) || status >= 500 || isOfProxy;
  return later ? retry(retryAfterMs(response)) : bisect(`http-${status}`, excerpt(response));
}

/**
 * The same for a tool that knows its caller by a key: 401 says that the key is wrong, and so does a 403 in JSON; a new
 * one is for the owner to give.
 */
export function classifyByKey(answer) {
  const { response } = answer;
  const refused = response.status === 401 || (response.status === 403 && answerOf(response));
  return refused ? disable("unauthorized", excerpt(response)) : classifyByStatus(answer);
}

/**
 * What the answer to a deletion means: as `classifyByKey`, and a 404 in JSON says that the tool has nobody of that name, so
 * that nothing is left to delete.
 */
export function classifyDeletion(answer) {
  const { response } = answer;
  return response.status === 404 && answerOf(response) ? "delivered" : classifyByKey(answer);
}
