// Sends events to Mixpanel's /import and traits to /engage.

import { Fail, Skip, byStatus, chunks, delivered, destination, partial, rejected } from './batch.js';

const HOSTS = { us: 'https://api.mixpanel.com', eu: 'https://api-eu.mixpanel.com', in: 'https://api-in.mixpanel.com' };
const IMPORT = { count: 2000, bytes: 9_900_000 };
const ENGAGE = { count: 2000, bytes: 990_000 };

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) {
    settings = { region: 'us', page_event: 'Page Viewed', screen_event: 'Screen Viewed', ...given };
  },

  record(event) {
    if (!event.userId && !event.anonymousId) throw new Fail('no-user', 'Mixpanel needs `userId` or `anonymousId`');
    return event.type === 'identify' ? profile(event) : action(event);
  },

  requests(records) {
    const host = HOSTS[settings.region];
    const list = (path, tag) => (chunk) => ({
      url: host + path,
      body: `[${chunk.map((r) => r.json).join(',')}]`,
      events: chunk.map((r) => r.event),
      tag,
    });
    const events = records.filter((r) => r.value.event);
    const profiles = records.filter((r) => !r.value.event);
    return [
      ...[...chunks(events, IMPORT)].map(list('/import?strict=1', 'import')),
      ...[...chunks(profiles, ENGAGE)].map(list('/engage?verbose=1', 'engage')),
    ];
  },

  classify(response, events, tag) {
    if (tag === 'import' && response.status === 400) return validated(response, events);
    // /engage answers 200 and says in the body that it took nothing.
    if (tag === 'engage' && response.status === 200) {
      return response.json?.status === 0 ? rejected('refused', `Mixpanel says ${response.json.error}`) : delivered();
    }
    return byStatus(response);
  },
});

function action(event) {
  const context = event.context ?? {};
  return {
    event: name(event),
    properties: {
      ...(event.type === 'track' ? {} : { name: event.name }),
      ...event.properties,
      time: Date.parse(event.timestamp),
      // Simplified identity merge: the first event that carries both joins the device to the user.
      distinct_id: event.userId ?? `$device:${event.anonymousId}`,
      $user_id: event.userId,
      $device_id: event.anonymousId,
      $insert_id: insertId(event.messageId),
      ip: context.ip,
      $current_url: context.page?.url,
      $referrer: context.page?.referrer,
      $os: context.os?.name,
      $app_version_string: context.app?.version,
      mp_lib: 'tidegate',
    },
  };
}

function name(event) {
  switch (event.type) {
    case 'track':
      if (!event.event) throw new Fail('no-event-name', 'a track event needs `event`');
      return event.event;
    case 'page':
      return settings.page_event;
    case 'screen':
      return settings.screen_event;
    default:
      throw new Skip(`Mixpanel gets no ${event.type} events`);
  }
}

const RESERVED = {
  email: '$email', phone: '$phone', name: '$name', firstName: '$first_name', lastName: '$last_name', avatar: '$avatar',
  createdAt: '$created',
};

function profile(event) {
  const traits = Object.entries(event.traits ?? {}).map(([name, value]) => [RESERVED[name] ?? name, value]);
  if (!traits.length) throw new Skip('no traits to set');
  return {
    $token: settings.project_token,
    $distinct_id: event.userId ?? `$device:${event.anonymousId}`,
    $ip: event.context?.ip ?? '0',
    $set: Object.fromEntries(traits),
  };
}

// 36 letters, digits and `-`. The end of an id is where ids differ.
function insertId(messageId) {
  return messageId && String(messageId).replace(/[^A-Za-z0-9-]/g, '-').slice(-36);
}

// Strict mode: what is not listed was taken.
function validated(response, events) {
  const failed = response.json?.failed_records;
  if (!Array.isArray(failed) || !failed.length) return byStatus(response);
  const positions = new Set(failed.map((record) => record.index));
  return partial(events.filter((_, position) => positions.has(position)).map((event) => [event, false]));
}
