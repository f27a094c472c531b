// Sends events to Iterable's events/trackBulk and traits to users/bulkUpdate.

import { type Event, type Fields, Fail, Skip, byStatus, chunks, destination, partial, rejected } from './batch';

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
    const email = event.traits?.email ?? event.context?.traits?.email;
    const who = { email: typeof email === 'string' && email ? email : undefined, userId: event.userId };
    if (!who.email && !who.userId) throw new Fail('no-user', 'Iterable needs `userId` or an email');
    if (event.type === 'identify') {
      return { ...who, preferUserId: !!who.userId, mergeNestedObjects: true, dataFields: traits(event) };
    }
    return {
      // One of both: Iterable refuses a pair that does not fit its own.
      ...(who.userId ? { userId: who.userId } : { email: who.email }),
      eventName: name(event),
      // An event of the same id is updated and not doubled.
      id: event.messageId,
      createdAt: Math.floor(Date.parse(event.timestamp ?? '') / 1000) || undefined,
      dataFields: { ...(event.name ? { name: event.name } : {}), ...event.properties },
    };
  },

  requests(entries) {
    const host = HOSTS[settings.region ?? 'us'];
    const planned = (path: string, list: string) => (chunk: typeof entries) => ({
      url: host + path,
      body: `{"${list}":[${chunk.map((e) => e.json).join(',')}]}`,
      events: chunk.map((e) => e.event),
      // The answer names emails, user ids and event names, never places.
      tag: JSON.stringify(chunk.map(({ value }) => [value.email ?? null, value.userId ?? null, value.eventName ?? null])),
    });
    return [
      ...chunks(entries.filter((e) => !e.value.eventName), LIMITS).map(planned('/api/users/bulkUpdate', 'users')),
      ...chunks(entries.filter((e) => e.value.eventName), LIMITS).map(planned('/api/events/trackBulk', 'events')),
    ];
  },

  classify(response, events, tag) {
    const failed = response.json?.failCount;
    if (response.status !== 200 || !failed) return byStatus(response);
    const named = refused(response.json);
    const whose: (string | null)[][] = JSON.parse(tag);
    const wrong = events.filter((_, place) => whose[place].some((name) => name !== null && named.has(name)));
    // Some failed and nothing says which: better all of them in quarantine than one of them lost.
    if (!wrong.length) return rejected('some-failed', `Iterable says that ${failed} of ${events.length} failed`);
    return partial(wrong.map((event) => [event, false]));
  },
});

/** All that the answer's lists of trouble name. */
function refused(answer: any): Set<string> {
  const lists = [answer.invalidEmails, answer.invalidUserIds, answer.disallowedEventNames, ...Object.values(answer.failedUpdates ?? {})];
  return new Set(lists.filter(Array.isArray).flat());
}

function name(event: Event): string {
  switch (event.type) {
    case 'track':
      if (!event.event) throw new Fail('no-event-name', 'a track event needs `event`');
      return event.event;
    case 'page':
      return 'Page Viewed';
    case 'screen':
      return 'Screen Viewed';
    default:
      throw new Skip(`Iterable gets no ${event.type} events`);
  }
}

function traits({ traits, anonymousId }: Event): Fields {
  const { phone, email: _, ...rest } = traits ?? {};
  return { ...rest, ...(phone ? { phoneNumber: phone } : {}), ...(anonymousId ? { anonymousId } : {}) };
}
