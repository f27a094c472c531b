// Sends events to Iterable's events/trackBulk and traits to users/bulkUpdate.

import {
  type Event, type Fields, PluginError, Skip, answerOf, beside, bisect, chunks, classifyByKey, classifyDeletion, destination,
  email, eventName, eventsOf, jsonArray, messageId, name, partial, phone, properties, somebody, time, toJson, traits, warnOnce,
} from 'tidegate';

interface Settings {
  api_key: string;
  region?: 'us' | 'eu';
}

interface Record {
  email?: string;
  userId?: string;
  eventName?: string;
  id?: string;
  createdAt?: number;
  preferUserId?: boolean;
  mergeNestedObjects?: boolean;
  dataFields: Fields;
}

const HOSTS = { us: 'https://api.iterable.com', eu: 'https://api.eu.iterable.com' };
// Small enough for the tag to say whose every record is; a request may have 4 MB.
const LIMITS = { count: 100, bytes: 3_900_000 };

let settings: Settings;

export const { configure, prepare, classify } = destination<Settings, Record>({
  configure(given) {
    settings = given;
  },

  record(event) {
    const who = { email: email(traits(event).email), userId: somebody(event.userId) };
    if (!who.email && !who.userId) throw new PluginError('no-user', 'Iterable needs a `userId` of somebody or an email');
    if (event.type === 'identify') {
      return { ...who, preferUserId: !!who.userId, mergeNestedObjects: true, dataFields: profile(event) };
    }
    return {
      // One of both: Iterable refuses a pair that does not fit its own.
      ...(who.userId ? { userId: who.userId } : { email: who.email }),
      eventName: eventName(event, { page: 'Page Viewed', screen: 'Screen Viewed' }),
      // An event of the same id is updated and not doubled.
      id: messageId(event),
      createdAt: time(event)?.seconds,
      dataFields: { ...(event.type === 'track' ? {} : { name: name(event) }), ...properties(event) },
    };
  },

  requests(entries, plan) {
    const host = HOSTS[settings.region ?? 'us'];
    const planned = (path: string, list: string, some: typeof entries) => chunks(some, LIMITS, plan).map((chunk) => ({
      url: host + path,
      body: `{"${list}":${jsonArray(chunk)}}`,
      events: eventsOf(chunk),
      // The answer names emails, user ids and event names, never places.
      tag: toJson(chunk.map(({ value }) => [value.email ?? null, value.userId ?? null, value.eventName ?? null])),
    }));
    return [
      ...planned('/api/users/bulkUpdate', 'users', entries.filter((entry) => !entry.value.eventName)),
      ...planned('/api/events/trackBulk', 'events', entries.filter((entry) => entry.value.eventName)),
    ];
  },

  classify(answer) {
    const { events, response, tag } = answer;
    const said = answerOf(response);
    if (response.status !== 200 || !said?.failCount) return classifyByKey(answer);
    const named = refused(said);
    const whose: (string | null)[][] = JSON.parse(tag);
    const wrong = events.filter((_, place) => whose[place].some((word) => word !== null && named.has(word)));
    // Some failed and nothing says which. What was taken is updated when it comes again, and not doubled.
    if (!wrong.length) return bisect('some-failed', `Iterable says that ${said.failCount} of ${events.length} failed`);
    return partial(wrong.map((event) => [event, false]));
  },
});

export const { prepare: forget, classify: classifyForget } = destination<Settings, { path: string }>({
  record(person) {
    const [id, address] = [somebody(person.userId), email(traits(person).email)];
    if (id) return { path: `byUserId/${encodeURIComponent(id)}` };
    if (address) return { path: encodeURIComponent(address) };
    throw new Skip('Iterable deletes people by `userId` or email');
  },

  requests(entries) {
    const host = HOSTS[settings.region ?? 'us'];
    return entries.map(({ event, value }) => ({
      method: 'DELETE' as const,
      url: `${host}/api/users/${value.path}`,
      events: [event],
    }));
  },

  classify: classifyDeletion,
});

/** All that the answer's lists of what failed name. */
function refused(said: any): Set<string> {
  const lists = [said.invalidEmails, said.invalidUserIds, said.disallowedEventNames, ...Object.values(said.failedUpdates ?? {})];
  return new Set(lists.filter(Array.isArray).flat());
}

/**
 * Iterable refuses a user whose `email` or `phoneNumber` is none, and a hash is none: such an email goes along as
 * `email_as_sent`, a phone that is no E.164 number stays under `phone`.
 */
function profile(event: Event): Fields {
  const { phone: given, email: address, ...rest } = traits(event);
  const number = phone(given);
  const isOdd = email(address) === undefined && address !== undefined && address !== null && address !== '';
  if (isOdd) warnOnce('Iterable takes no such email: it goes along as email_as_sent');
  const said = {
    ...(number ? { phoneNumber: number } : { phone: given }),
    email_as_sent: isOdd ? address : undefined,
    anonymousId: somebody(event.anonymousId),
  };
  return beside(rest, said, (trait) => trait === 'phoneNumber' && phone(rest.phoneNumber) === undefined);
}
