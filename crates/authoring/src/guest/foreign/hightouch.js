// Runs the Hightouch function in original.js, which stays as it was written.
import { drop } from "tidegate";
import * as original from "./original.js";

export async function transform(event) {
  // One event at a time, so that what becomes of an event does not depend on its neighbours.
  const came = original.transformEvents ? await original.transformEvents([event]) : await original.transformEvent(event);
  const events = came === null || came === undefined ? [] : [came].flat();
  if (events.length === 0) return drop("filtered");
  return events.length === 1 ? events[0] : events;
}
