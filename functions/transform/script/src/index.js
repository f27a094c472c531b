// The interpreter for scripts that are written in the web console: JavaScript as text, without a build.
import * as tidegate from "tidegate";
import { evaluated } from "./evaluated.js";
import { heldScript } from "./room.js";

/** What an `async` function answers. Bundles have none; scripts are no bundles. */
const AsyncPromise = globalThis.eval("(async () => {})().constructor");

let plugin = null;
const context = {
  settings: {},
  get now() {
    return tidegate.now();
  },
  get seed() {
    return tidegate.seed();
  },
};

export function configure(settings) {
  const held = heldScript();
  const script = held ?? settings.script;
  if (typeof script !== "string") {
    throw new tidegate.PluginError("no-script", "there is no script in this component, and none in its settings", "invalid-config");
  }
  plugin = evaluated(script, tidegate);
  context.settings = held === null ? (settings.settings ?? {}) : settings;
  if (held === null && settings.check) return;
  return plugin.configure?.(context.settings);
}

export function transform(event, _) {
  const answer = plugin.transform(event, context);
  if (answer instanceof AsyncPromise) {
    throw new TypeError("transform is async, and a script waits for nothing; write it without async and await, or build it with `tidegate function build`");
  }
  return answer;
}
