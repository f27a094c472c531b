import { drop, keep } from "tidegate";

/** @type {import("tidegate").Transform<{ staff_domain: string }>} */
export function transform(event, { settings }) {
  const holder = event.properties?.email ? event.properties : event.traits;
  if (typeof holder?.email !== "string") return keep;
  const email = holder.email.toLowerCase();
  if (email.endsWith(`@${settings.staff_domain}`)) return drop("staff");
  if (email === holder.email) return keep;
  holder.email = email;
  return event;
}
