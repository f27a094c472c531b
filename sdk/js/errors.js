// Errors that a plugin throws, and how a wrong argument is told.

/** Throw it in `configure` to refuse settings, or anywhere to fail one event with a code of your own. */
export class PluginError extends Error {
  constructor(code, message, kind) {
    super(message);
    this.name = "PluginError";
    this.code = code;
    this.kind = kind;
  }
}

/** Throw it to have the whole batch tried again later. */
export class RetryBatch extends Error {
  constructor(message, afterMs = null) {
    super(message);
    this.name = "RetryBatch";
    this.afterMs = afterMs;
  }
}

/** `value` if it is text; else an error that names the argument and has the author's line in its stack. */
export function text(value, what) {
  if (typeof value !== "string") throw new TypeError(`${what} is ${kind(value)}, not text`);
  return value;
}

/** What a value is, for messages: "a list", "a number", "null". */
export function kind(value) {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value.then === "function") return "a promise";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/**
 * JSON of `value`. JSON.stringify writes `null` for NaN and Infinity; here they are an error that says where they stand.
 */
export function toJson(value) {
  return checked(value, "");
}

/** The same, of a `value` that was read from the text `given`: a null that was there already is none of NaN's. */
function checked(value, given) {
  const json = JSON.stringify(value);
  if (json === undefined) throw new TypeError(`${kind(value)} is no JSON`);
  // Whatever is not finite is written as null. Most nulls are nulls: where one stands is looked for in earnest only when
  // a quick walk has met a number that is not finite, and there is no walk when all nulls are `given` in the same place.
  const last = json.lastIndexOf("null");
  if (last < 0 || given.startsWith(json.slice(0, last + 4))) return json;
  if (hasNotFinite(value)) refuse(value, "", (number) => !Number.isFinite(number));
  return json;
}

/**
 * The same for what goes back to the host. It knows every digit of the event, so numbers of the event beyond the range of
 * doubles may be written, as `Infinity`, when `isOfEvent()` says that it has some; the host puts them back.
 */
export function toHostJson(value, isOfEvent, given = "") {
  try {
    return checked(value, given);
  } catch (error) {
    if (!(error instanceof PluginError) || !isOfEvent()) throw error;
  }
  refuse(value, "", Number.isNaN);
  let mark = "Infinity";
  for (const json = JSON.stringify(value); json.includes(mark); ) mark += "_";
  const marked = JSON.stringify(value, (_, inner) => (inner === Infinity ? mark : inner === -Infinity ? `-${mark}` : inner));
  return marked.replaceAll(`"${mark}"`, "Infinity").replaceAll(`"-${mark}"`, "-Infinity");
}

/**
 * Whether NaN or an infinity stands anywhere in `value`, inherited fields included. In what was parsed it is a number beyond
 * the range of doubles, for JSON has no NaN. It builds nothing, for it runs often.
 */
export function hasNotFinite(value) {
  if (typeof value === "number") return value - value !== 0;
  if (typeof value !== "object") return false;
  for (const name in value) {
    const inner = value[name];
    if (typeof inner !== "string" && inner !== null && hasNotFinite(inner)) return true;
  }
  return false;
}

function refuse(value, path, isWrong) {
  if (typeof value === "number" && isWrong(value)) {
    throw new PluginError("not-json", `${value} at ${path || "the top"} is no JSON`);
  }
  if (value === null || typeof value !== "object") return;
  for (const [name, inner] of Object.entries(value)) refuse(inner, `${path}/${name}`, isWrong);
}
