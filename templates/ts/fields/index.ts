import { drop, path, type Edit } from "tidegate";

interface Settings {
  staff_domain: string;
}

const emails = [path("/properties/email"), path("/traits/email")];

export const transform: Edit<Settings> = (event, { settings }) => {
  for (const at of emails) {
    const found = event.getString(at);
    if (found === null) continue;
    const email = found.toLowerCase();
    if (email.endsWith(`@${settings.staff_domain}`)) return drop("staff");
    if (email !== found) event.set(at, email);
  }
};
