// Sends events to Amplitude through the HTTP V2 API.

import {
  PluginError, answerOf, asList, asObject, chunks, classifyByKey, context, contextText, destination, disable,
  eventName, eventsOf, integrationOptions, items, itemsTotal, jsonArray, messageId, money, name, number, partial,
  properties, retry, retryAfterMs, somebody, time, toJson, traits,
} from 'tidegate';

const ENDPOINTS = { us: 'https://api2.amplitude.com/2/httpapi', eu: 'https://api.eu.amplitude.com/2/httpapi' };
// Under 1 MB and 2,000 events a request, with room for what is around the events.
const LIMITS = { count: 1999, bytes: 990_000 };

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) {
    settings = { region: 'us', page_event: 'Page Viewed', screen_event: 'Screen Viewed', ...given };
  },

  record(event) {
    const [user, visitor] = [somebody(event.userId), somebody(event.anonymousId)];
    if (!user && !visitor) throw new PluginError('no-user', 'Amplitude needs a `userId` or `anonymousId` of somebody');
    return {
      ...what(event),
      user_id: user,
      device_id: device(event) ?? visitor,
      time: time(event)?.ms,
      session_id: session(event),
      // Amplitude drops an event whose insert_id it saw in the last seven days.
      insert_id: messageId(event),
      ip: contextText(event, 'ip'),
      language: contextText(event, 'locale'),
      app_version: contextText(event, 'app.version'),
      platform: platform(event),
      os_name: contextText(event, 'os.name'),
      os_version: contextText(event, 'os.version'),
      device_model: contextText(event, 'device.model'),
      country: contextText(event, 'location.country'),
      city: contextText(event, 'location.city'),
      user_agent: contextText(event, 'userAgent'),
    };
  },

  requests(entries, plan) {
    return chunks(entries, LIMITS, plan).map((chunk) => ({
      url: ENDPOINTS[settings.region],
      body: `{"api_key":${toJson(settings.api_key)},"options":{"min_id_length":1},"events":${jsonArray(chunk)}}`,
      events: eventsOf(chunk),
    }));
  },

  classify(answer) {
    const { response } = answer;
    if (response.status === 400) return listed(answer);
    // A user or device is too fast; Amplitude asks for half a minute.
    if (response.status === 429) return retry(retryAfterMs(response) ?? 30_000);
    return classifyByKey(answer);
  },
});

function what(event) {
  if (event.type === 'identify') return { event_type: '$identify', user_properties: { $set: traits(event) } };
  const event_type = eventName(event, { page: settings.page_event, screen: settings.screen_event });
  if (event.type === 'track') return { event_type, event_properties: properties(event), ...earned(event) };
  return { event_type, event_properties: { name: name(event), ...properties(event) } };
}

// These say again what an order has brought, or that it brought nothing after all.
const AFTER_AN_ORDER = ['Order Updated', 'Order Refunded', 'Order Cancelled'];

// Only what says `revenue`, and an order, is revenue: the price of a product that was viewed is none.
function earned(event) {
  if (AFTER_AN_ORDER.includes(name(event))) return {};
  const given = properties(event);
  const isOrder = name(event) === 'Order Completed';
  const ofOrder = isOrder ? money(given, 'value', 'subtotal') ?? itemsTotal(given) : undefined;
  const found = money(given, 'revenue') ?? ofOrder;
  if (!found) return {};
  const sold = items(given).items;
  const product = sold.length === 1 ? sold[0].productId ?? sold[0].sku : undefined;
  return { revenue: found.amount, currency: found.currency, productId: product };
}

// What iOS gives for a device that must not be known has nothing but zeros: Amplitude refuses a request with one.
function device(event) {
  const id = somebody(context(event, 'device.id'));
  return id && /^[0-]+$/.test(id) ? undefined : id;
}

// Amplitude's own SDKs take the beginning of the session in Unix milliseconds. It stands under the name that the sender has
// for Amplitude: Segment's own SDKs write `Actions Amplitude`, RudderStack's also `AM`.
function session(event) {
  const own = integrationOptions(event, 'Amplitude', 'AM', 'AMP').map((options) => options.session_id);
  const id = [...own, context(event, 'sessionId')].map(number).find((id) => id !== undefined);
  return Number.isSafeInteger(id) && id >= 0 ? id : undefined;
}

function platform(event) {
  const isWeb = contextText(event, 'userAgent') ?? contextText(event, 'page.url');
  return contextText(event, 'os.name') ?? contextText(event, 'device.type') ?? (isWeb ? 'Web' : 'Server');
}

// Nothing of a refused request was taken: the events that the answer lists are wrong, the others are sent again.
function listed(answer) {
  const said = answerOf(answer.response) ?? {};
  if (/api.?key/i.test(said.error ?? '') || said.missing_field === 'api_key') return disable('wrong-api-key', said.error);
  const lists = ['events_with_invalid_fields', 'events_with_missing_fields', 'events_with_invalid_id_lengths'];
  const places = lists.flatMap((list) => Object.values(asObject(said[list])).flat()).concat(asList(said.silenced_events));
  const wrong = new Set(places);
  if (!wrong.size) return classifyByKey(answer);
  return partial(answer.events.map((event, place) => [event, !wrong.has(place)]));
}
