import { drop, keep, type Transform } from "tidegate";

interface Settings {
  staff_domain: string;
}

export const transform: Transform<Settings> = (event, { settings }) => {
  const holder = event.properties?.email ? event.properties : event.traits;
  if (typeof holder?.email !== "string") return keep;
  const email = holder.email.toLowerCase();
  if (email.endsWith(`@${settings.staff_domain}`)) return drop("staff");
  if (email === holder.email) return keep;
  holder.email = email;
  return event;
};
