import { drop, path } from "tidegate";

/** @typedef {{ required?: string[], missing?: "deny" | "allow", strip?: Record<string, string[]> }} Settings */

const preferences = path("/context/consent/categoryPreferences");

/** Fields to strip, by their category. Paths are made once: a path is parsed when it is made. */
let stripped = [];

/** @param {Settings} settings */
export function configure({ strip = {} }) {
  stripped = Object.entries(strip).map(([category, pointers]) => [category, pointers.map((at) => path(at))]);
}

/** @type {import("tidegate").Edit<Settings>} */
export function transform(event, { settings: { required = [], missing = "deny" } }) {
  const said = event.getJson(preferences) ?? {};
  // Only a plain yes is a yes: "true", 1 and "granted" are somebody's mistake.
  const allowed = (category) => (Object.hasOwn(said, category) ? said[category] === true : missing === "allow");

  const refused = required.find((category) => !allowed(category));
  if (refused !== undefined) return drop(`no-consent-${refused}`);
  for (const [category, fields] of stripped) {
    if (!allowed(category)) fields.forEach((field) => event.remove(field));
  }
}
