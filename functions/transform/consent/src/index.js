import { drop, keep } from "tidegate";

/** @typedef {{ required?: string[], missing?: "deny" | "allow", strip?: Record<string, string[]> }} Settings */

/** @type {import("tidegate").Transform<Settings>} */
export function transform(event, { settings: { required = [], missing = "deny", strip = {} } }) {
  const said = event.context?.consent?.categoryPreferences ?? {};
  const allowed = (category) => (Object.hasOwn(said, category) ? isYes(said[category]) : missing === "allow");

  const refused = required.find((category) => !allowed(category));
  if (refused !== undefined) return drop(`no-consent-${refused}`);
  const fields = Object.keys(strip).filter((category) => !allowed(category)).flatMap((category) => strip[category]);
  const removed = fields.filter((field) => remove(event, field));
  return removed.length > 0 ? event : keep;
}

/** Only `true` is consent, and its text, for a pixel has no other values. 1 and "granted" are somebody's mistake. */
function isYes(value) {
  return value === true || (typeof value === "string" && value.toLowerCase() === "true");
}

/** Takes away what stands at a JSON pointer; says whether anything did. */
function remove(event, pointer) {
  const steps = pointer.slice(1).split("/").map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = steps.pop();
  let place = event;
  for (const step of steps) {
    if (!isObject(place) || !Object.hasOwn(place, step)) return false;
    place = place[step];
  }
  return isObject(place) && Object.hasOwn(place, last) && delete place[last];
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
