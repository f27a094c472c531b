// Sends events to PostHog through /batch.

import {
  type Event, type Fields, PluginError, Skip, answerOf, asList, asObject, beside, chunks, classifyByKey,
  contextText, destination, eventName, eventsOf, groupId, jsonArray, messageId, name, properties, retry, somebody,
  time, toJson, traits, userId,
} from 'tidegate';

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
    const [user, device] = [somebody(event.userId), somebody(event.anonymousId)];
    const distinct_id = user ?? device;
    if (!distinct_id) throw new PluginError('no-user', 'PostHog needs a `userId` or `anonymousId` of somebody');
    const { event: what, own = {}, said } = captured(event, user, device);
    return {
      event: what,
      distinct_id,
      uuid: uuid(messageId(event)),
      timestamp: time(event)?.text,
      properties: beside(own, {
        ...said,
        refused_user_id: user ? undefined : userId(event),
        $ip: contextText(event, 'ip'),
        $current_url: contextText(event, 'page.url'),
        $referrer: contextText(event, 'page.referrer'),
        $raw_user_agent: contextText(event, 'userAgent'),
        $lib: 'tidegate',
        // An anonymous visitor gets no profile unless asked for: profiles cost money.
        ...(user || settings.anonymous_profiles ? {} : { $process_person_profile: false }),
      }),
    };
  },

  requests(entries, plan) {
    return chunks(entries, LIMITS, plan).map((chunk) => ({
      url: `${settings.endpoint.replace(/\/$/, '')}/batch/`,
      body: `{"api_key":${toJson(settings.project_api_key)},"historical_migration":false,"batch":${jsonArray(chunk)}}`,
      events: eventsOf(chunk),
    }));
  },

  classify(answer) {
    // 200, but the quota is used up and nothing was kept.
    const isLimited = asList(answerOf(answer.response)?.quota_limited).includes('events');
    return answer.response.status === 200 && isLimited ? retry(HOUR_MS) : classifyByKey(answer);
  },
});

/** An event under PostHog's name, with its own properties and what PostHog's say of it. */
function captured(event: Event, user: string | undefined, device: string | undefined): { event: string; own?: Fields; said?: Fields } {
  switch (event.type) {
    case 'identify':
      if (!user) throw new Skip('PostHog identifies a `userId`');
      return { event: '$identify', said: { $set: traits(event), $anon_distinct_id: device } };
    case 'group': {
      const key = groupId(event);
      if (!key) throw new PluginError('no-group-id', 'a group event needs `groupId`');
      // Traits of the context are the person's and say nothing about the group.
      const set = asObject(event.traits);
      return { event: '$groupidentify', said: { $group_type: settings.group_type ?? 'company', $group_key: key, $group_set: set } };
    }
    case 'alias': {
      const alias = somebody(event.previousId);
      if (!alias) throw new PluginError('no-previous-id', 'an alias needs a `previousId` of somebody');
      return { event: '$create_alias', said: { alias } };
    }
    case 'page':
      return { event: '$pageview', own: properties(event), said: { $title: name(event) } };
    case 'screen':
      return { event: '$screen', own: properties(event), said: { $screen_name: name(event) } };
    default:
      return { event: eventName(event), own: properties(event) };
  }
}

// PostHog keeps one event of those with the same uuid. One that stands in the messageId is taken, else it is made of it.
function uuid(given: string | undefined): string | undefined {
  if (!given) return undefined;
  const found = given.match(/[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i);
  if (found) return found[0].toLowerCase();
  let hash = 0x6c62272e07bb014262b821756295c58dn;
  for (const c of given) hash = BigInt.asUintN(128, (hash ^ BigInt(c.codePointAt(0)!)) * 0x1000000000000000000013bn);
  const hex = hash.toString(16).padStart(32, '0');
  // Version 8: made as its maker likes.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}
