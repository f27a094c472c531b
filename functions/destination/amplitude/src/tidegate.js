// The connection to Tidegate, the same in every JavaScript destination: JSON in, requests out, answers read.
// `plugin.js` beside it has what is particular to the tool.

/** Thrown in `record`: the event does not apply here and is left out. */
export class Skip extends Error {}

/** Thrown in `record`: the event is wrong; it goes to quarantine under `code`. */
export class Fail extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * `configure(settings)` keeps the settings, `record(event)` makes the tool's record of one event, `requests(records)`
 * puts records (`{ event, value, json }`) into requests, `classify(response, events, tag)` reads an answer.
 */
export function connect({ configure, record, requests, classify }) {
  const lifecycle = {
    configure({ settingsJson }) {
      configure(JSON.parse(settingsJson));
    },
  };

  const destination = {
    prepare(batch) {
      const plan = { requests: [], skipped: [], failed: [] };
      const records = [];
      batch.forEach((text, event) => {
        try {
          const value = record(object(JSON.parse(text)));
          records.push({ event, value, json: json(value) });
        } catch (error) {
          if (error instanceof Skip) plan.skipped.push({ event, reason: error.message });
          else plan.failed.push({ event, error: complaint('invalid-event', error.code ?? 'exception', said(error)) });
        }
      });
      plan.requests = requests(records).map(({ method = 'post', url, headers = {}, body, events, tag = '' }) => {
        const all = { 'content-type': 'application/json', ...headers };
        return { method, url, headers: Object.entries(all), body: bytes(body), events: Uint32Array.from(events), tag };
      });
      return plan;
    },

    classify(tag, events, { status, headers, body }) {
      const named = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
      const answer = text(body);
      let value;
      try {
        value = JSON.parse(answer);
      } catch {
        value = undefined;
      }
      return classify({ status, headers: named, text: answer, json: value }, [...events], tag);
    },
  };
  return { lifecycle, destination };
}

export const delivered = () => ({ tag: 'delivered' });
/** `ms` may be undefined: the host has pauses of its own. */
export const retry = (ms) => ({ tag: 'retry', val: ms });
export const rejected = (code, message) => ({ tag: 'rejected', val: complaint('invalid-event', code, message) });
export const disable = (code, message) => ({ tag: 'disable', val: complaint('invalid-config', code, message) });
/** `events`: pairs of an event and whether to retry it; all others were delivered. */
export const partial = (events) => (events.length ? { tag: 'partial', val: events } : delivered());

/** What the status alone means, for what a tool does not say more precisely. */
export function byStatus({ status, headers, text }) {
  const message = `answered ${status}: ${text.slice(0, 200)}`;
  if (status >= 200 && status < 300) return delivered();
  if (status === 408 || status === 429 || status >= 500) return retry(retryAfterMs(headers));
  if (status === 401 || status === 403) return disable('unauthorized', message);
  if (status === 413) return rejected('too-large', message);
  return rejected('refused', message);
}

/** Milliseconds that `retry-after` asks for; undefined when it is absent or a date. */
export function retryAfterMs(headers) {
  const seconds = headers['retry-after'];
  return /^\d+$/.test(seconds ?? '') ? Math.min(Number(seconds) * 1000, 0xffffffff) : undefined;
}

/** JSON in ASCII: its length in characters is its length in bytes. */
export function json(value) {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}

/** Runs of records whose JSON, put into a list, stays within `bytes`. */
export function* chunks(records, { count, bytes }) {
  let chunk = [];
  let size = 0;
  for (const record of records) {
    if (chunk.length === count || (chunk.length && size + record.json.length > bytes)) {
      yield chunk;
      chunk = [];
      size = 0;
    }
    chunk.push(record);
    size += record.json.length + 1;
  }
  if (chunk.length) yield chunk;
}

function object(value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new Fail('not-an-object', 'the event is no JSON object');
  }
  return value;
}

function complaint(kind, code, message) {
  return { kind, code, message };
}

function said(error) {
  return error instanceof Fail ? error.message : `${error}\n${error.stack ?? ''}`.slice(0, 500);
}

// QuickJS has no TextEncoder; bodies are ASCII (see `json`).
function bytes(ascii) {
  const out = new Uint8Array(ascii.length);
  for (let i = 0; i < ascii.length; i++) out[i] = ascii.charCodeAt(i);
  return out;
}

// UTF-8 where it is, else every byte a character: an answer is for people and for JSON.parse.
function text(bytes) {
  let latin = '';
  for (let i = 0; i < bytes.length; i += 4096) latin += String.fromCharCode.apply(null, bytes.subarray(i, i + 4096));
  try {
    return decodeURIComponent(escape(latin));
  } catch {
    return latin;
  }
}
