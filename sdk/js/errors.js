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
  const json = JSON.stringify(value);
  if (json === undefined) throw new TypeError(`${kind(value)} is no JSON`);
  // Whatever is not finite is written as null.
  if (json.includes("null")) checkFinite(value, "");
  return json;
}

function checkFinite(value, path) {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new PluginError("not-json", `${value} at ${path || "the top"} is no JSON`);
  }
  if (value === null || typeof value !== "object") return;
  for (const [name, inner] of Object.entries(value)) checkFinite(inner, `${path}/${name}`);
}
