// Sends attributes, events and purchases to Braze through /users/track.

import { type Entry, type Event, type Fields, type Request, Fail, Skip, byStatus, destination, json, partial } from './batch';

interface Settings {
  endpoint: string;
  api_key: string;
  alias_label?: string;
  purchase_event?: string;
}

/** What one event adds to each list of a request. */
interface Update {
  attributes: Fields[];
  events: Fields[];
  purchases: Fields[];
}

const LISTS = ['attributes', 'events', 'purchases'] as const;
/** Of each list in a request. */
const LIST_MAX = 75;

let settings: Settings;

export const { configure, prepare, classify } = destination<Settings, Update>({
  configure(given) {
    settings = given;
  },

  record(event) {
    const update: Update = { attributes: [], events: [], purchases: [] };
    const user = identity(event);
    switch (event.type) {
      case 'identify':
        update.attributes.push({ ...user, ...attributes(event.traits ?? {}) });
        break;
      case 'track':
        if (!event.event) throw new Fail('no-event-name', 'a track event needs `event`');
        if (event.event === (settings.purchase_event ?? 'Order Completed')) update.purchases = purchases(event, user);
        if (!update.purchases.length) update.events.push(happened(event, event.event, user));
        break;
      case 'page':
      case 'screen':
        update.events.push(happened(event, event.type === 'page' ? 'Page Viewed' : 'Screen Viewed', user));
        break;
      default:
        throw new Skip(`Braze gets no ${event.type} events`);
    }
    if (update.purchases.length > LIST_MAX) throw new Fail('too-many-products', `Braze takes ${LIST_MAX} purchases a request`);
    return update;
  },

  requests(entries) {
    const requests: Request[] = [];
    let open: Entry<Update>[] = [];
    const counts = { attributes: 0, events: 0, purchases: 0 };
    const close = () => {
      if (open.length) requests.push(request(open));
      open = [];
      for (const list of LISTS) counts[list] = 0;
    };
    for (const entry of entries) {
      if (LISTS.some((list) => counts[list] + entry.value[list].length > LIST_MAX)) close();
      for (const list of LISTS) counts[list] += entry.value[list].length;
      open.push(entry);
    }
    close();
    return requests;
  },

  classify(response, events, tag) {
    const errors: unknown[] = Array.isArray(response.json?.errors) ? response.json.errors : [];
    const owners: Record<string, number[]> = JSON.parse(tag);
    const wrong = new Set<number>();
    for (const error of errors as { input_array?: string; index?: number }[]) {
      const event = owners[error?.input_array ?? '']?.[error?.index ?? -1];
      if (event !== undefined) wrong.add(event);
    }
    // 201 with errors: the others were taken. 400: nothing was.
    if (wrong.size && response.status < 300) return partial([...wrong].map((event) => [event, false]));
    if (wrong.size && response.status === 400) return partial(events.map((event) => [event, !wrong.has(event)]));
    return byStatus(response);
  },
});

function request(entries: Entry<Update>[]): Request {
  const body: Fields = {};
  const owners: Record<string, number[]> = {};
  for (const list of LISTS) {
    const items = entries.flatMap((entry) => entry.value[list]);
    if (items.length) body[list] = items;
    // Errors name a place in a list; the tag says whose it is.
    owners[list] = entries.flatMap((entry) => entry.value[list].map(() => entry.event));
  }
  const url = `${settings.endpoint.replace(/\/$/, '')}/users/track`;
  return { url, body: json(body), events: entries.map((entry) => entry.event), tag: json(owners) };
}

function identity(event: Event): Fields {
  if (event.userId) return { external_id: event.userId };
  if (event.anonymousId) {
    const alias_label = settings.alias_label ?? 'anonymous_id';
    return { user_alias: { alias_name: event.anonymousId, alias_label }, _update_existing_only: false };
  }
  const email = event.traits?.email ?? event.context?.traits?.email;
  if (email) return { email };
  throw new Fail('no-user', 'Braze needs `userId`, `anonymousId` or an email');
}

function happened(event: Event, name: string, user: Fields): Fields {
  const properties = event.name ? { name: event.name, ...event.properties } : event.properties;
  return { ...user, name, time: event.timestamp, properties };
}

const NAMES: Record<string, string> = {
  firstName: 'first_name',
  lastName: 'last_name',
  birthday: 'dob',
  avatar: 'image_url',
};

function attributes({ address, ...traits }: Fields): Fields {
  const out: Fields = {};
  for (const [name, value] of Object.entries(traits)) out[NAMES[name] ?? name] = value;
  if (address && typeof address === 'object' && !Array.isArray(address)) {
    out.home_city = address.city;
    out.country = address.country;
  }
  return out;
}

function purchases(event: Event, user: Fields): Fields[] {
  const { products, currency } = event.properties ?? {};
  if (!Array.isArray(products)) return [];
  return products.map((product) => {
    const { product_id, sku, price, quantity, ...properties } = (product ?? {}) as Fields;
    const id = product_id ?? sku;
    if (!id || typeof price !== 'number') throw new Fail('no-price', 'a product needs `product_id` (or `sku`) and `price`');
    return { ...user, product_id: String(id), currency: currency ?? 'USD', price, quantity: quantity ?? 1, time: event.timestamp, properties };
  });
}
