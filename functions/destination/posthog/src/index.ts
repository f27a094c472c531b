// Sends events to PostHog through /batch.

import { type Event, type Fields, Fail, Skip, byStatus, chunks, destination, json, retry } from './batch';

interface Settings {
  endpoint: string;
  project_api_key: string;
  group_type?: string;
  anonymous_profiles?: boolean;
}

interface Captured {
  event: string;
  distinct_id: string;
  uuid?: string;
  timestamp?: string;
  properties: Fields;
}

// The whole request may have 20 MB.
const LIMITS = { count: 5000, bytes: 19_000_000 };
const HOUR_MS = 3_600_000;

let settings: Settings;

export const { configure, prepare, classify } = destination<Settings, Captured>({
  configure(given) {
    settings = given;
  },

  record(event) {
    const distinct_id = event.userId ?? event.anonymousId;
    if (!distinct_id) throw new Fail('no-user', 'PostHog needs `userId` or `anonymousId`');
    const { name, properties } = what(event);
    return {
      event: name,
      distinct_id,
      uuid: uuid(event.messageId),
      timestamp: event.timestamp,
      properties: {
        ...properties,
        $ip: event.context?.ip,
        $current_url: event.context?.page?.url,
        $referrer: event.context?.page?.referrer,
        $raw_user_agent: event.context?.userAgent,
        $lib: 'tidegate',
        // An anonymous visitor gets no profile unless asked for: profiles cost money.
        ...(event.userId || settings.anonymous_profiles ? {} : { $process_person_profile: false }),
      },
    };
  },

  requests(entries) {
    return chunks(entries, LIMITS).map((chunk) => ({
      url: `${settings.endpoint.replace(/\/$/, '')}/batch/`,
      body: `{"api_key":${json(settings.project_api_key)},"historical_migration":false,"batch":[${chunk.map((e) => e.json).join(',')}]}`,
      events: chunk.map((e) => e.event),
    }));
  },

  classify(response) {
    // 200, but the quota is used up and nothing was kept.
    const limited: unknown = response.json?.quota_limited;
    if (response.status === 200 && Array.isArray(limited) && limited.includes('events')) return retry(HOUR_MS);
    return byStatus(response);
  },
});

function what(event: Event): { name: string; properties: Fields } {
  switch (event.type) {
    case 'track':
      if (!event.event) throw new Fail('no-event-name', 'a track event needs `event`');
      return { name: event.event, properties: { ...event.properties } };
    case 'identify':
      if (!event.userId) throw new Skip('PostHog identifies a `userId`');
      return { name: '$identify', properties: { $set: event.traits ?? {}, $anon_distinct_id: event.anonymousId } };
    case 'page':
      return { name: '$pageview', properties: { $title: event.name, ...event.properties } };
    case 'screen':
      return { name: '$screen', properties: { $screen_name: event.name, ...event.properties } };
    case 'group': {
      if (!event.groupId) throw new Fail('no-group-id', 'a group event needs `groupId`');
      const type = settings.group_type ?? 'company';
      return { name: '$groupidentify', properties: { $group_type: type, $group_key: event.groupId, $group_set: event.traits ?? {} } };
    }
    case 'alias':
      if (!event.previousId) throw new Fail('no-previous-id', 'an alias needs `previousId`');
      return { name: '$create_alias', properties: { alias: event.previousId } };
    default:
      throw new Skip(`PostHog has no ${event.type} events`);
  }
}

// PostHog keeps one event of those with the same uuid. One that stands in the messageId is taken, else it is made of it.
function uuid(messageId: string | undefined): string | undefined {
  if (!messageId) return undefined;
  const found = String(messageId).match(/[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i);
  if (found) return found[0].toLowerCase();
  let hash = 0x6c62272e07bb014262b821756295c58dn;
  for (const c of String(messageId)) hash = BigInt.asUintN(128, (hash ^ BigInt(c.codePointAt(0)!)) * 0x1000000000000000000013bn);
  const hex = hash.toString(16).padStart(32, '0');
  // Version 8: made as its maker likes.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}
