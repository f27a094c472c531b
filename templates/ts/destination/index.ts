import { classifyByStatus, type Classify, type Plan, type Prepare } from "tidegate";

export const prepare: Prepare = (events) => {
  const carried: number[] = [];
  const bodies: object[] = [];
  const plan: Required<Plan> = { requests: [], skipped: [], failed: [] };
  events.forEach((event, index) => {
    if (event.type !== "track") {
      plan.skipped.push({ event: index, reason: "not-tracked" });
    } else if (!event.userId) {
      plan.failed.push({ event: index, code: "missing-user", message: "Example knows users by their userId" });
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
  if (carried.length > 0) {
    plan.requests.push({
      url: "https://api.example.com/v1/events",
      headers: { "content-type": "application/json" },
      body: { events: bodies },
      events: carried,
    });
  }
  return plan;
};

// What most APIs mean by their status codes; write your own when this one means something else.
export const classify: Classify = classifyByStatus;
