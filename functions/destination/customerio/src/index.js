// Sends people and what they do to Customer.io through the Track API v2.

import { Fail, Skip, byStatus, chunks, destination, partial } from './batch.js';

const ENDPOINTS = { us: 'https://track.customer.io/api/v2/batch', eu: 'https://track-eu.customer.io/api/v2/batch' };
const LIMITS = { count: 1000, bytes: 499_000 };
const RECORD_BYTES_MAX = 32 * 1024;

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) {
    settings = { region: 'us', identify_by: 'id', ...given };
  },

  record(event) {
    const record = { type: 'person', identifiers: identifiers(event), ...what(event) };
    if (JSON.stringify(record).length > RECORD_BYTES_MAX) throw new Fail('too-large', 'Customer.io takes up to 32 KB a record');
    return record;
  },

  requests(records) {
    return [...chunks(records, LIMITS)].map((chunk) => ({
      url: ENDPOINTS[settings.region],
      body: `{"batch":[${chunk.map((r) => r.json).join(',')}]}`,
      events: chunk.map((r) => r.event),
    }));
  },

  classify(response, events) {
    // 207: some were taken. 400: none was; the list says which were wrong, and why.
    const errors = response.json?.errors;
    const known = Array.isArray(errors) && errors.every((error) => Number.isInteger(error.batch_index));
    if ([200, 207, 400].includes(response.status) && known && errors.length) {
      const wrong = new Set(errors.map((error) => error.batch_index));
      const again = response.status === 400;
      return partial(events.map((event, position) => [event, !wrong.has(position)]).filter(([, right]) => !right || again));
    }
    return byStatus(response);
  },
});

function identifiers({ userId, anonymousId, traits, context }) {
  const email = traits?.email ?? context?.traits?.email;
  if (settings.identify_by === 'email' && email) return { email };
  if (userId) return { id: userId };
  if (email) return { email };
  if (anonymousId) return { anonymous_id: anonymousId };
  throw new Fail('no-user', 'Customer.io needs `userId`, an email or `anonymousId`');
}

function what(event) {
  const seconds = Math.floor(Date.parse(event.timestamp) / 1000);
  const done = (action, name, attributes) => {
    if (!name) throw new Fail('no-event-name', `a ${event.type} event needs a name`);
    return { action, name, timestamp: seconds, id: ulid(event), attributes };
  };
  switch (event.type) {
    case 'identify':
      if (!event.userId && !event.traits?.email) throw new Skip('a person is made of a `userId` or an email');
      return { action: 'identify', attributes: person(event) };
    case 'track':
      return done('event', event.event, event.properties);
    case 'page':
      return done('page', event.properties?.url ?? event.name, event.properties);
    case 'screen':
      return done('screen', event.name, event.properties);
    default:
      throw new Skip(`Customer.io gets no ${event.type} events`);
  }
}

// Customer.io wants times in seconds, and joins what an anonymous id did before.
function person({ traits, anonymousId }) {
  const created = typeof traits?.createdAt === 'string' ? Math.floor(Date.parse(traits.createdAt) / 1000) : undefined;
  return { ...traits, created_at: created || undefined, anonymous_id: anonymousId };
}

// Customer.io drops an event whose id it has, and takes only ULIDs: this one depends on nothing but time and messageId.
function ulid({ timestamp, messageId }) {
  if (!messageId) return undefined;
  let hash = 0xcbf29ce484222325n;
  const words = [];
  for (const salt of ['a', 'b']) {
    for (const c of salt + messageId) hash = BigInt.asUintN(64, (hash ^ BigInt(c.codePointAt(0))) * 0x100000001b3n);
    words.push(hash);
  }
  let bits = (BigInt(Date.parse(timestamp) || 0) << 80n) | BigInt.asUintN(80, (words[0] << 64n) | words[1]);
  let out = '';
  for (let i = 0; i < 26; i++, bits >>= 5n) out = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[Number(bits & 31n)] + out;
  return out;
}
