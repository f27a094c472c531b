import { classifyByStatus } from "tidegate";

/** @type {import("tidegate").Prepare} */
export function prepare(events) {
  const carried = [];
  const bodies = [];
  const skipped = [];
  const failed = [];
  events.forEach((event, index) => {
    if (event.type !== "track") {
      skipped.push({ event: index, reason: "not-tracked" });
    } else if (!event.userId) {
      failed.push({ event: index, code: "missing-user", message: "Example knows users by their userId" });
    } else {
      carried.push(index);
      bodies.push({
        id: event.messageId,
        name: event.event,
        user: event.userId,
        at: event.timestamp,
        properties: event.properties ?? {},
      });
    }
  });
  if (carried.length === 0) return { requests: [], skipped, failed };
  const request = {
    url: "https://api.example.com/v1/events",
    headers: { "content-type": "application/json" },
    body: { events: bodies },
    events: carried,
  };
  return { requests: [request], skipped, failed };
}

// What most APIs mean by their status codes; write your own when this one means something else.
export const classify = classifyByStatus;
