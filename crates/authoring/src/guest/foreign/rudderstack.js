// Runs the RudderStack transformation in original.js, which stays as it was written.
import "./provided.js";
import { drop } from "tidegate";
import * as original from "./original.js";

export async function transform(event, { settings }) {
  // What an event does not say is in the settings, which must have each of the values that the function uses.
  const metadata = (of = event) => ({
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [name.replace(/_(.)/g, (_, c) => c.toUpperCase()), value])),
    messageId: of.messageId,
    eventName: of.event ?? of.name,
    eventType: of.type,
    receivedAt: of.receivedAt,
  });
  // One event at a time, so that what becomes of an event does not depend on its neighbours.
  const whole = original.transformBatch ?? original.transform;
  const came = original.transformEvent && !original.transformBatch
    ? await original.transformEvent(event, metadata)
    : await whole([event], metadata);
  const events = [came].flat().filter((one) => one !== null && one !== undefined);
  if (events.length === 0) return drop("filtered");
  return events.length === 1 ? events[0] : events;
}
