import {
  type Classify, PluginError, Skip, chunks, classifyByStatus, destination, eventsOf, jsonArray, messageId, name,
  properties, time, userId,
} from "tidegate";

const API = "https://api.example.com/v1/events";
// What one request may hold.
const LIMITS = { count: 100, bytes: 1_000_000 };

interface Record {
  id?: string;
  name?: string;
  user: string;
  at?: string;
  properties: object;
}

export const { prepare } = destination<unknown, Record>({
  record(event) {
    if (event.type !== "track") throw new Skip("not-tracked");
    const user = userId(event);
    if (!user) throw new PluginError("missing-user", "Example knows users by their userId");
    return { id: messageId(event), name: name(event), user, at: time(event)?.text, properties: properties(event) };
  },

  requests(entries, plan) {
    return chunks(entries, LIMITS, plan).map((chunk) => ({
      url: API,
      body: `{"events":${jsonArray(chunk)}}`,
      events: eventsOf(chunk),
    }));
  },
});

// What most APIs mean by their status codes; write your own when this one means something else.
export const classify: Classify = classifyByStatus;
