// Sends people and what they do to Customer.io through the Track API v2.

import {
  PluginError, Skip, answerOf, asList, beside, chunks, classifyByKey, classifyDeletion, contextText, destination, email,
  eventName, eventsOf, idText, jsonArray, messageId, moment, name, partial, properties, somebody, time,
  traits, warnOnce,
} from 'tidegate';

const HOSTS = { us: 'https://track.customer.io', eu: 'https://track-eu.customer.io' };
const LIMITS = { count: 1000, bytes: 499_000, record: 32 * 1024 };

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) {
    settings = { region: 'us', identify_by: 'id', ...given };
  },

  record(event) {
    return { type: 'person', identifiers: identifiers(event), ...what(event) };
  },

  requests(entries, plan) {
    return chunks(entries, LIMITS, plan).map((chunk) => ({
      url: `${HOSTS[settings.region]}/api/v2/batch`,
      body: `{"batch":${jsonArray(chunk)}}`,
      events: eventsOf(chunk),
    }));
  },

  classify(answer) {
    const { events, response } = answer;
    // 207: some were taken. 400: none was; the list says which were wrong, and why.
    const errors = asList(answerOf(response)?.errors);
    const isKnown = errors.length > 0 && errors.every((error) => Number.isInteger(error?.batch_index));
    if ([200, 207, 400].includes(response.status) && isKnown) {
      const wrong = new Set(errors.map((error) => error.batch_index));
      const isTaken = response.status !== 400;
      return partial(events.map((event, place) => [event, !wrong.has(place)]).filter(([, right]) => !right || !isTaken));
    }
    return classifyByKey(answer);
  },
});

// The Track API v1 deletes one person a request.
export const { prepare: forget, classify: classifyForget } = destination({
  record(person) {
    const id = somebody(person.userId) ?? email(traits(person).email);
    if (!id) throw new Skip('Customer.io deletes people by `userId` or email');
    return { id };
  },

  requests(entries) {
    return entries.map(({ event, value }) => ({
      method: 'DELETE',
      url: `${HOSTS[settings.region]}/api/v1/customers/${encodeURIComponent(value.id)}`,
      events: [event],
    }));
  },

  classify: classifyDeletion,
});

function identifiers(event) {
  const address = email(traits(event).email);
  if (settings.identify_by === 'email' && address) return { email: address };
  const [user, visitor] = [somebody(event.userId), somebody(event.anonymousId)];
  if (user) return { id: user };
  if (address) return { email: address };
  if (visitor) return { anonymous_id: visitor };
  throw new PluginError('no-user', 'Customer.io needs a `userId` or `anonymousId` of somebody, or an email');
}

function what(event) {
  if (event.type === 'identify') {
    if (!somebody(event.userId) && !email(traits(event).email)) throw new Skip('a person is made of a `userId` or an email');
    return { action: 'identify', attributes: person(event) };
  }
  const page = idText(properties(event).url) ?? contextText(event, 'page.url') ?? name(event);
  const named = eventName(event, { page, screen: name(event) });
  if (!named) throw new PluginError('no-event-name', `a ${event.type} event needs a name`);
  const action = event.type === 'track' ? 'event' : event.type;
  return { action, name: named, timestamp: time(event)?.seconds, id: ulid(event), attributes: properties(event) };
}

// Customer.io wants `created_at` in seconds, and joins what an anonymous id did before.
function person(event) {
  const { created_at: created, email: address, ...rest } = traits(event);
  const at = moment(created) ?? moment(rest.createdAt);
  // Attributes that say who somebody is: nobody is none.
  const isNobody = (trait) => ['id', 'cio_id', 'anonymous_id'].includes(trait) && !somebody(rest[trait]);
  return beside(rest, {
    email: email(address),
    created_at: at?.seconds,
    email_as_sent: asSent('email', address, email),
    created_at_as_sent: asSent('created_at', created, moment),
    anonymous_id: somebody(event.anonymousId),
  }, isNobody);
}

// What is none stays, under a name that Customer.io does not read as one.
function asSent(trait, sent, read) {
  if (sent === undefined || sent === null || read(sent) !== undefined) return undefined;
  if (sent !== '') warnOnce(`Customer.io takes no such ${trait}: it goes along as ${trait}_as_sent`);
  return sent;
}

// Customer.io drops an event whose id it has, and takes only ULIDs: this one depends on nothing but time and messageId.
function ulid(event) {
  const given = messageId(event);
  if (!given) return undefined;
  let hash = 0xcbf29ce484222325n;
  const words = [];
  for (const salt of ['a', 'b']) {
    for (const c of salt + given) hash = BigInt.asUintN(64, (hash ^ BigInt(c.codePointAt(0))) * 0x100000001b3n);
    words.push(hash);
  }
  let bits = (BigInt(time(event)?.ms ?? 0) << 80n) | BigInt.asUintN(80, (words[0] << 64n) | words[1]);
  let out = '';
  for (let i = 0; i < 26; i++, bits >>= 5n) out = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[Number(bits & 31n)] + out;
  return out;
}
