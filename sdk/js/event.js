// What an event says: who, when, what. Clients send what they like, so each reader gives undefined for anything odd.

/** An object as it is; an empty one for anything else, such as the `[]` that PHP writes for an empty object. */
export function asObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
}

/** An array as it is; an empty one for anything else. */
export function asList(value) {
  return Array.isArray(value) ? value : [];
}

/** An id as text: text that is not blank as it is, a number by its digits, undefined for anything else. */
export function idText(value) {
  if (typeof value === "string") return value.trim() === "" ? undefined : value;
  if (typeof value !== "number" || !Number.isFinite(value)) return undefined;
  return Number.isInteger(value) ? BigInt(value).toString() : withoutExponent(String(value));
}

function withoutExponent(decimal) {
  const found = /^(-?)(\d)(?:\.(\d+))?e-(\d+)$/.exec(decimal);
  return found ? `${found[1]}0.${"0".repeat(Number(found[4]) - 1)}${found[2]}${found[3] ?? ""}` : decimal;
}

// What code writes where it has nobody, in small letters. Source: <https://posthog.com/docs/data/identify>, which merges nobody
// into these, and Python's word for none.
const NOBODY = new Set([
  "undefined", "null", "none", "nan", "[object object]", "0", "true", "false", "anonymous", "guest", "id", "distinctid",
  "distinct_id", "email", "not_authenticated",
]);

/**
 * The id of somebody as text; undefined where `idText` gives none, and for what code writes for nobody, such as "undefined",
 * "[object Object]", 0 or "Guest", in any case and also in quotes. A tool would make one person of all who have such an id.
 */
export function somebody(value) {
  const id = idText(value);
  if (id === undefined) return undefined;
  const isAround = (character) => character === '"' || character === "'" || character.trim() === "";
  let [from, to] = [0, id.length];
  while (from < to && isAround(id[from])) from++;
  while (from < to && isAround(id[to - 1])) to--;
  return from === to || NOBODY.has(id.slice(from, to).toLowerCase()) ? undefined : id;
}

/** `userId` as text; undefined when it is missing, blank or no id. */
export const userId = (event) => idText(event.userId);
/** `anonymousId` as text; undefined when it is missing, blank or no id. */
export const anonymousId = (event) => idText(event.anonymousId);
/** `groupId` as text; undefined when it is missing, blank or no id. */
export const groupId = (event) => idText(event.groupId);
/** `previousId` as text; undefined when it is missing, blank or no id. */
export const previousId = (event) => idText(event.previousId);
/** `messageId` as text; undefined when it is missing, blank or no id. */
export const messageId = (event) => idText(event.messageId);
/** By what a tool knows somebody: the user id, else the anonymous id, else undefined. */
export const user = (event) => userId(event) ?? anonymousId(event);

/** What happened: the `event` of a track, the `name` of a page or screen; undefined for all else and for blank ones. */
export function name(event) {
  const value = event.type === "track" ? event.event : event.type === "page" || event.type === "screen" ? event.name : undefined;
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

/** What stands in `context` at a path such as "page.url"; undefined when nothing does, and for null and blank text. */
export function context(event, path) {
  let value = event.context;
  for (const step of path.split(".")) value = asObject(value)[step];
  return value === null || (typeof value === "string" && value.trim() === "") ? undefined : value;
}

/** The text in `context` at a path such as "page.url", a number by its digits; undefined for anything else. */
export const contextText = (event, path) => idText(context(event, path));

/** `context.traits`, and over them the `traits` of the event itself. A new object: it may be changed. */
export const traits = (event) => ({ ...asObject(context(event, "traits")), ...asObject(event.traits) });

/** `properties`; empty when they are no object. */
export const properties = (event) => asObject(event.properties);

/** When the event happened, by its `timestamp`; undefined when that cannot be read. */
export const time = (event) => instant(event.timestamp);

// A date, and behind it the time of day with or without seconds and an offset.
const ISO = /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?(?:[Zz]|([+-]\d\d)(?::?(\d\d))?)?)?$/;

/**
 * The instant of a trait such as `createdAt`, as people write it: RFC 3339, also without the offset or the time of day, which
 * are those of UTC and midnight then, or seconds or milliseconds since 1970 as a number or numeric text. Undefined for
 * anything else.
 */
export function moment(value) {
  const text = idText(value)?.trim() ?? "";
  if (/^-?\d+(\.\d+)?$/.test(text)) {
    // Seconds reach 11 digits in the year 5138.
    return fromMs(Math.abs(Number(text)) < 1e11 ? Math.round(Number(text) * 1000) : Math.floor(Number(text)));
  }
  const [, day, clock = "00:00", seconds = ":00", offset, minutes = "00"] = ISO.exec(text) ?? [];
  return day && instant(`${day}T${clock}${seconds}${offset ? `${offset}:${minutes}` : "Z"}`);
}

/**
 * What `integrations` of an event has for a tool that is known by any of `names`: its options, of every spelling under which
 * there are some, those of the first name first. Whether the event may go there the host has asked already.
 */
export function integrationOptions(event, ...names) {
  const given = Object.entries(asObject(event.integrations)).filter(([, options]) => asObject(options) === options);
  return names.flatMap((name) => given.filter(([key]) => spelling(key) === spelling(name)).map(([, options]) => options));
}

const AROUND = ["actions", "cloud", "device", "web", "mode"];

/**
 * The name of a tool as it compares, for the host and here: letters and digits alone, in small letters, without the words that
 * vendors put around it ("Actions Amplitude", "Braze Cloud Mode (Actions)").
 */
export function spelling(name) {
  const words = name.toLowerCase().match(/[\p{Alphabetic}\p{Number}]+/gu) ?? [];
  return words.filter((word) => !AROUND.includes(word)).join("") || words.join("");
}

/**
 * `fields` in which those that `isTaken` says are under `prefix` and their name, so that none is lost: where that is a
 * field already, the prefix stands there once more. `onRenamed(name, to)` is told of each.
 */
export function renamed(fields, prefix, isTaken, onRenamed = () => {}) {
  const names = new Set(Object.keys(fields));
  const move = (name) => {
    let to = prefix + name;
    while (names.has(to)) to = prefix + to;
    names.add(to);
    onRenamed(name, to);
    return to;
  };
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [isTaken(name) ? move(name) : name, value]));
}

const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/**
 * The instant that RFC 3339 text names, whatever its fraction and offset: Unix milliseconds `ms` and `seconds`, rounded
 * down, and `text` in UTC with milliseconds. Undefined for anything else.
 */
export function instant(value) {
  const found = typeof value === "string" ? RFC_3339.exec(value) : null;
  if (!found) return undefined;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number);
  const [offsetHour, offsetMinute] = [Number(found[9] ?? 0), Number(found[10] ?? 0)];
  const fits = hour <= 23 && minute <= 59 && second <= 59 && offsetHour <= 23 && offsetMinute <= 59;
  // Date.UTC takes years below 100 for the 20th century.
  const date = new Date(Date.UTC(2000, month - 1, day, hour, minute, second));
  date.setUTCFullYear(year, month - 1, day);
  if (!fits || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const offset = (offsetHour * 60 + offsetMinute) * 60_000 * (found[8] === "-" ? 1 : -1);
  return fromMs(date.getTime() + offset + Number(`${found[7] ?? ""}000`.slice(0, 3)));
}

/** The instant so many milliseconds after 1970; undefined before the year 0 and after 9999. */
export function fromMs(ms) {
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  return year >= 0 && year <= 9999 ? { ms, seconds: Math.floor(ms / 1000), text: date.toISOString() } : undefined;
}
