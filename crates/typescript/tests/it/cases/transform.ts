import { drop, lookup, type Event } from "tidegate";
import type { Context, Outcome } from "tidegate";

/** What is set. */
interface Settings {
  domain?: string;
}

const staff: ReadonlySet<string> = new Set(["a@example.com"]);

export type Plan = "free" | "paid";

export function transform(event: Event, { settings }: Context<Settings>): Event | Outcome {
  const email = event.properties?.email as string | undefined;
  if (email && (staff.has(email) || email.endsWith(`@${settings.domain ?? "example.com"}`))) return drop("staff");
  const found = lookup("plans", event.userId!) as { plan: Plan } | null;
  event.properties = { ...event.properties, plan: found?.plan ?? ("free" satisfies Plan) };
  return event;
}
