import { drop, path } from "tidegate";

const emails = [path("/properties/email"), path("/traits/email")];

/** @type {import("tidegate").Edit<{ staff_domain: string }>} */
export function transform(event, { settings }) {
  for (const at of emails) {
    const found = event.getString(at);
    if (found === null) continue;
    const email = found.toLowerCase();
    if (email.endsWith(`@${settings.staff_domain}`)) return drop("staff");
    if (email !== found) event.set(at, email);
  }
}
