// Sends events to Amplitude through the HTTP V2 API.

import { Fail, Skip, byStatus, chunks, destination, disable, json, partial, retry, retryAfterMs } from './batch.js';

const ENDPOINTS = { us: 'https://api2.amplitude.com/2/httpapi', eu: 'https://api.eu.amplitude.com/2/httpapi' };
// Under 1 MB and 2,000 events a request, with room for what is around the events.
const LIMITS = { count: 1999, bytes: 990_000 };

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) {
    settings = { region: 'us', page_event: 'Page Viewed', screen_event: 'Screen Viewed', ...given };
  },

  record(event) {
    if (!event.userId && !event.anonymousId) throw new Fail('no-user', 'Amplitude needs `userId` or `anonymousId`');
    const context = event.context ?? {};
    return {
      ...what(event),
      user_id: event.userId,
      device_id: context.device?.id ?? event.anonymousId,
      time: Date.parse(event.timestamp) || undefined,
      // Amplitude drops an event whose insert_id it saw in the last seven days.
      insert_id: event.messageId,
      ip: context.ip,
      language: context.locale,
      app_version: context.app?.version,
      platform: platform(context),
      os_name: context.os?.name,
      os_version: context.os?.version,
      device_model: context.device?.model,
      country: context.location?.country,
      city: context.location?.city,
      user_agent: context.userAgent,
    };
  },

  requests(records) {
    return [...chunks(records, LIMITS)].map((chunk) => ({
      url: ENDPOINTS[settings.region],
      body: `{"api_key":${json(settings.api_key)},"options":{"min_id_length":1},"events":[${chunk.map((r) => r.json).join(',')}]}`,
      events: chunk.map((r) => r.event),
    }));
  },

  classify(response, events) {
    if (response.status === 400) return listed(response, events);
    // A user or device is too fast; Amplitude asks for half a minute.
    if (response.status === 429) return retry(retryAfterMs(response.headers) ?? 30_000);
    return byStatus(response);
  },
});

function what(event) {
  switch (event.type) {
    case 'track':
      if (!event.event) throw new Fail('no-event-name', 'a track event needs `event`');
      return { event_type: event.event, event_properties: event.properties, ...money(event.properties ?? {}) };
    case 'identify':
      return { event_type: '$identify', user_properties: { $set: event.traits ?? {} } };
    case 'page':
      return { event_type: settings.page_event, event_properties: { name: event.name, ...event.properties } };
    case 'screen':
      return { event_type: settings.screen_event, event_properties: { name: event.name, ...event.properties } };
    default:
      throw new Skip(`Amplitude gets no ${event.type} events`);
  }
}

function money({ revenue, price, quantity, product_id }) {
  if (typeof revenue === 'number') return { revenue, productId: product_id };
  return typeof price === 'number' && typeof quantity === 'number' ? { price, quantity, productId: product_id } : {};
}

function platform(context) {
  return context.os?.name ?? (context.userAgent || context.page ? 'Web' : undefined);
}

// Nothing of a refused request was taken: the events that the answer lists are wrong, the others are sent again.
function listed(response, events) {
  const answer = response.json ?? {};
  if (/api.?key/i.test(answer.error ?? '') || answer.missing_field === 'api_key') return disable('wrong-api-key', answer.error);
  const lists = ['events_with_invalid_fields', 'events_with_missing_fields', 'events_with_invalid_id_lengths'];
  const positions = lists.flatMap((name) => Object.values(answer[name] ?? {}).flat()).concat(answer.silenced_events ?? []);
  const wrong = new Set(positions);
  if (!wrong.size) return byStatus(response);
  return partial(events.map((event, position) => [event, !wrong.has(position)]));
}
