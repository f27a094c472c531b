// Runs the handlers of the Segment function in original.js, which stays as it was written.
import "./provided.js";
import { RetryBatch, drop, fail, keep, log } from "tidegate";
import * as original from "./original.js";

const HANDLERS = {
  track: "onTrack",
  identify: "onIdentify",
  page: "onPage",
  screen: "onScreen",
  group: "onGroup",
  alias: "onAlias",
};

export async function transform(event, { settings }) {
  const handler = original[HANDLERS[event.type]];
  if (!handler) return keep;
  try {
    const came = await handler(event, settings);
    return came === null || came === undefined ? drop("returned-nothing") : came;
  } catch (error) {
    switch (error?.name) {
      case "DropEvent":
        log.debug(error.message);
        return drop("drop-event");
      case "EventNotSupported":
        return drop("event-not-supported");
      case "InvalidEventPayload":
        return fail("invalid-event-payload", error.message);
      case "ValidationError":
        return fail("validation-error", error.message);
      case "RetryError":
        throw new RetryBatch(error.message);
      default:
        throw error;
    }
  }
}
