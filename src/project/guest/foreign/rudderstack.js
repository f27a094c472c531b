// Runs the RudderStack transformation in original.js, which stays as it was written.
import "./provided.js";
import { drop } from "tidegate";
import * as original from "./original.js";

export async function transform(event, { settings }) {
  const metadata = (of) => ({
    sourceId: settings.source_id ?? "",
    sourceName: settings.source_name ?? "",
    sourceType: settings.source_type ?? "",
    destinationId: settings.destination_id ?? "",
    destinationType: settings.destination_type ?? "",
    messageId: (of ?? event).messageId,
    mode: "cloudMode",
  });
  // One event at a time, so that what becomes of an event does not depend on its neighbours.
  const came = original.transformBatch
    ? await original.transformBatch([event], metadata)
    : await original.transformEvent(event, metadata);
  const events = [came].flat().filter((one) => one !== null && one !== undefined);
  if (events.length === 0) return drop("filtered");
  return events.length === 1 ? events[0] : events;
}
