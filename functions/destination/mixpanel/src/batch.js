// What every destination in JavaScript would write the same way: events one by one, requests within limits, answers by
// status. `index.js` beside it has what is particular to the tool.

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
 * What `index.js` exports to Tidegate. `record(event)` makes the tool's record of one event, `requests(records)` puts
 * records (`{ event, value, json }`) into requests, `classify(response, events, tag)` reads an answer.
 */
export function destination({ configure, record, requests, classify }) {
  function prepare(events) {
    const plan = { requests: [], skipped: [], failed: [] };
    const records = [];
    events.forEach((given, event) => {
      try {
        const value = record(object(given));
        records.push({ event, value, json: json(value) });
      } catch (error) {
        if (error instanceof Skip) plan.skipped.push({ event, reason: error.message });
        else plan.failed.push({ event, code: error.code ?? 'exception', message: said(error) });
      }
    });
    plan.requests = requests(records).map((request) => {
      return { ...request, headers: { 'content-type': 'application/json', ...request.headers } };
    });
    return plan;
  }

  return {
    configure,
    prepare,
    classify({ tag, events, response: { status, headers, text } }) {
      return classify({ status, headers, text, json: parsed(text) }, events, tag);
    },
  };
}

export const delivered = () => 'delivered';
/** Without `ms` the host pauses as it sees fit. */
export const retry = (ms) => ({ retry: ms ?? null });
export const rejected = (code, message) => ({ rejected: { code, message } });
/** Stops the destination and tells its owner. */
export const disable = (code, message) => ({ disable: { code, message } });
/** `events`: pairs of an event and whether to retry it; all others were delivered. */
export const partial = (events) => (events.length ? { partial: events } : delivered());

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

function said(error) {
  return error instanceof Fail ? error.message : `${error}\n${error.stack ?? ''}`.slice(0, 500);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
