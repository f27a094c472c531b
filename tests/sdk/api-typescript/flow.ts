// One flow through the admin API with a client whose types come from the document of the server.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined>; exitCode?: number };

const setting = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
};
const client = createClient<paths>({
  baseUrl: setting("TIDEGATE_API_URL"),
  headers: { Authorization: `Bearer ${setting("TIDEGATE_API_TOKEN")}` },
});

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

function must<T>(what: string, answer: Answer<T>): T {
  if (answer.data === undefined) {
    throw new Error(`${what}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  }
  return answer.data;
}

function expect(what: string, holds: boolean): void {
  if (!holds) throw new Error(what);
}

const OBJECTS = "/api/v1/objects/{kind}";
const OBJECT = "/api/v1/objects/{kind}/{name}";
const names = ["ts-a", "ts-b", "ts-c"];

const who = must("whoami", await client.GET("/api/v1/whoami"));
expect("an admin asks", who.admin);

const source = (rate: string): components["schemas"]["NewObject"]["spec"] => ({ kind: "http", rate });
for (const name of names) {
  const made = must(
    `create ${name}`,
    await client.POST(OBJECTS, {
      params: { path: { kind: "source" }, header: { "Idempotency-Key": name } },
      body: { name, labels: { team: "web" }, spec: source("1/s") },
    }),
  );
  expect(`${name} was made`, made.objects[0]?.done === "created");
}

const seen: string[] = [];
let cursor: string | undefined;
do {
  const page: components["schemas"]["Objects"] = must(
    "list",
    await client.GET(OBJECTS, { params: { path: { kind: "source" }, query: { prefix: "ts-", limit: 2, cursor } } }),
  );
  seen.push(...page.objects.map((object) => object.name));
  cursor = page.next ?? undefined;
} while (cursor !== undefined);
expect(`three are listed: ${seen.join()}`, seen.join() === names.join());

const at = { kind: "source", name: "ts-a" };
const shown = await client.GET(OBJECT, { params: { path: at } });
must("show", shown);
const tag = shown.response.headers.get("etag") ?? "";
const change = (ifMatch: string, rate: string) =>
  client.PUT(OBJECT, {
    params: { path: at, header: { "If-Match": ifMatch } },
    body: { name: "ts-a", spec: source(rate) },
  });
must("update", await change(tag, "2/s"));
const stale = await change(tag, "3/s");
expect(`the second change is told: ${stale.response.status}`, stale.response.status === 412);
expect("the problem has a code and a fix", stale.error?.code === "conflict" && stale.error.fix !== "");

for (const name of names) {
  must(`delete ${name}`, await client.DELETE(OBJECT, { params: { path: { kind: "source", name } } }));
}
const gone = await client.GET(OBJECT, { params: { path: at } });
expect("it is gone", gone.response.status === 404);

const audit = must("audit", await client.GET("/api/v1/audit", { params: { query: { kind: "source", limit: 10 } } }));
const done = audit.entries.map((entry) => `${String(entry["action"])} ${String(entry["name"])}`);
expect(`the log says so: ${done.join()}`, done.includes("updated ts-a") && done.includes("deleted ts-c"));
console.log(JSON.stringify({ made: names, audited: done.length }));
