// What every destination in TypeScript would write the same way: events one by one, requests within limits, answers by
// status. `index.ts` beside it has what is particular to the tool.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json | undefined };
export type Fields = { [name: string]: Json | undefined };

/** An event as Tidegate hands it over: the Segment spec, with `timestamp` and `messageId` always there. */
export interface Event {
  type: string;
  messageId?: string;
  timestamp?: string;
  userId?: string;
  anonymousId?: string;
  previousId?: string;
  groupId?: string;
  event?: string;
  name?: string;
  properties?: Fields;
  traits?: Fields;
  context?: {
    ip?: string;
    locale?: string;
    userAgent?: string;
    page?: { url?: string; referrer?: string; title?: string };
    traits?: Fields;
  };
}

/** What `record` made of an event, and where the event stands in the batch. */
export interface Entry<R> {
  event: number;
  value: R;
  json: string;
}

export interface Request {
  method?: 'get' | 'post' | 'put' | 'patch' | 'delete';
  url: string;
  headers?: Record<string, string>;
  body: string;
  events: number[];
  /** Handed back to `classify`; nothing else is remembered. */
  tag?: string;
}

export interface Response {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string | undefined>;
  text: string;
  /** Undefined when the body is no JSON. */
  json: any;
}

interface Complaint {
  code: string;
  message: string;
}

export type Verdict =
  | 'delivered'
  | { retry: number | null }
  | { rejected: Complaint }
  /** Pairs of an event and whether to retry it; all others were delivered. */
  | { partial: [number, boolean][] }
  /** Stops the destination and tells its owner. */
  | { disable: Complaint };

/** Thrown in `record`: the event does not apply here and is left out. */
export class Skip extends Error {}

/** Thrown in `record`: the event is wrong; it goes to quarantine under `code`. */
export class Fail extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

interface Plugin<S, R> {
  configure(settings: S): void;
  /** The tool's record of one event. */
  record(event: Event): R;
  /** Records into requests. */
  requests(entries: Entry<R>[]): Request[];
  classify(response: Response, events: number[], tag: string): Verdict;
}

/** What `index.ts` exports to Tidegate. */
export function destination<S, R>({ configure, record, requests, classify }: Plugin<S, R>) {
  function prepare(events: unknown[]) {
    const skipped: { event: number; reason: string }[] = [];
    const failed: { event: number; code: string; message: string }[] = [];
    const entries: Entry<R>[] = [];
    events.forEach((given, event) => {
      try {
        const value = record(object(given));
        entries.push({ event, value, json: json(value) });
      } catch (error) {
        if (error instanceof Skip) skipped.push({ event, reason: error.message });
        else if (error instanceof Fail) failed.push({ event, code: error.code, message: error.message });
        else failed.push({ event, code: 'exception', message: trace(error) });
      }
    });
    const planned = requests(entries).map((request) => {
      return { ...request, headers: { 'content-type': 'application/json', ...request.headers } };
    });
    return { requests: planned, skipped, failed };
  }

  return {
    configure,
    prepare,
    classify({ tag, events, response }: { tag: string; events: number[]; response: Omit<Response, 'json'> }) {
      const { status, headers, text } = response;
      return classify({ status, headers, text, json: parsed(text) }, events, tag);
    },
  };
}

export const delivered = (): Verdict => 'delivered';
/** Without `ms` the host pauses as it sees fit. */
export const retry = (ms?: number): Verdict => ({ retry: ms ?? null });
export const rejected = (code: string, message: string): Verdict => ({ rejected: { code, message } });
export const disable = (code: string, message: string): Verdict => ({ disable: { code, message } });
export const partial = (events: [number, boolean][]): Verdict => (events.length ? { partial: events } : delivered());

/** What the status alone means, for what a tool does not say more precisely. */
export function byStatus({ status, headers, text }: Response): Verdict {
  const message = `answered ${status}: ${text.slice(0, 200)}`;
  if (status >= 200 && status < 300) return delivered();
  if (status === 408 || status === 429 || status >= 500) return retry(retryAfterMs(headers));
  if (status === 401 || status === 403) return disable('unauthorized', message);
  if (status === 413) return rejected('too-large', message);
  return rejected('refused', message);
}

/** Milliseconds that `retry-after` asks for; undefined when it is absent or a date. */
export function retryAfterMs(headers: Response['headers']): number | undefined {
  const seconds = headers['retry-after'] ?? '';
  return /^\d+$/.test(seconds) ? Math.min(Number(seconds) * 1000, 0xffffffff) : undefined;
}

/** JSON in ASCII: its length in characters is its length in bytes. */
export function json(value: unknown): string {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}

/** Runs of entries whose JSON, put into a list, stays within `bytes`. */
export function chunks<R>(entries: Entry<R>[], limits: { count: number; bytes: number }): Entry<R>[][] {
  const out: Entry<R>[][] = [];
  let size = Infinity;
  for (const entry of entries) {
    if (size + entry.json.length > limits.bytes || out[out.length - 1].length === limits.count) {
      out.push([]);
      size = 0;
    }
    out[out.length - 1].push(entry);
    size += entry.json.length + 1;
  }
  return out;
}

function object(value: unknown): Event {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new Fail('not-an-object', 'the event is no JSON object');
  }
  return value as Event;
}

function trace(error: unknown): string {
  return `${error}\n${error instanceof Error ? error.stack : ''}`.slice(0, 500);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
