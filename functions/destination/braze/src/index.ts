// Sends attributes, events and purchases to Braze through /users/track.

import {
  type Entry, type Event, type Fields, type Item, type Request, PluginError, Skip, answerOf, asList, asObject,
  beside, chunks, classifyByKey, classifyDeletion, currency, destination, email, eventName, eventsOf, idText, items, moment, name,
  partial, phone, properties, somebody, time, toJson, traits, warnOnce,
} from 'tidegate';

interface Settings {
  endpoint: string;
  api_key: string;
  alias_label?: string;
  purchase_event?: string;
  currency?: string;
}

/** What one event adds to each list of a request. */
interface Update {
  attributes: Fields[];
  events: Fields[];
  purchases: Fields[];
}

const LISTS = ['attributes', 'events', 'purchases'] as const;
/** Of all lists of a request together, as accounts of today have it. */
const OBJECTS_MAX = 75;
/** People of one request that deletes. */
const DELETED_MAX = 50;
/** Braze takes requests of 4 MB, with what stands around the lists. */
const BYTES_MAX = 3_900_000;
/** Braze takes no purchase of more. */
const QUANTITY_MAX = 100;

let settings: Settings;

export const { configure, prepare, classify } = destination<Settings, Update>({
  configure(given) {
    settings = given;
  },

  record(event) {
    const update: Update = { attributes: [], events: [], purchases: [] };
    const user = identity(event);
    if (event.type === 'identify') {
      update.attributes.push(beside(attributes(traits(event)), user, (trait) => WHO.includes(trait)));
      return update;
    }
    const what = eventName(event, { page: 'Page Viewed', screen: 'Screen Viewed' });
    const isPurchase = event.type === 'track' && what === (settings.purchase_event ?? 'Order Completed');
    if (isPurchase) update.purchases = purchases(event, user);
    if (!update.purchases.length) update.events.push(happened(event, what, user));
    if (update.purchases.length > OBJECTS_MAX) {
      throw new PluginError('too-many-products', `Braze takes ${OBJECTS_MAX} purchases a request`);
    }
    return update;
  },

  requests(entries, plan) {
    const weigh = (entry: Entry<Update>) => LISTS.reduce((sum, list) => sum + entry.value[list].length, 0);
    return chunks(entries, { count: OBJECTS_MAX, bytes: BYTES_MAX, weigh }, plan).map(request);
  },

  classify(answer) {
    const { events, response, tag } = answer;
    const owners: Record<string, number[]> = JSON.parse(tag);
    const wrong = new Set<number>();
    for (const error of asList(answerOf(response)?.errors)) {
      const event = owners[error?.input_array ?? '']?.[error?.index ?? -1];
      if (event !== undefined) wrong.add(event);
    }
    // 201 with errors: the others were taken. 400: nothing was.
    if (wrong.size && response.status < 300) return partial([...wrong].map((event) => [event, false]));
    if (wrong.size && response.status === 400) return partial(events.map((event) => [event, !wrong.has(event)]));
    return classifyByKey(answer);
  },
});

export const { prepare: forget, classify: classifyForget } = destination<Settings, Fields>({
  record(person) {
    const [id, anonymous] = [somebody(person.userId), somebody(person.anonymousId)];
    if (id) return { external_id: id };
    if (anonymous) return { alias_name: anonymous, alias_label: settings.alias_label ?? 'anonymous_id' };
    throw new Skip('Braze deletes people by `userId` or `anonymousId`');
  },

  requests(entries, plan) {
    const limits = { count: DELETED_MAX, bytes: BYTES_MAX };
    const url = `${settings.endpoint.replace(/\/$/, '')}/users/delete`;
    const isUser = (entry: Entry<Fields>) => entry.value.external_id !== undefined;
    // A request names people in one way.
    const users = chunks(entries.filter(isUser), limits, plan);
    const aliases = chunks(entries.filter((entry) => !isUser(entry)), limits, plan);
    return [
      ...users.map((chunk) => ({ url, body: { external_ids: chunk.map((entry) => entry.value.external_id) }, events: eventsOf(chunk) })),
      ...aliases.map((chunk) => ({ url, body: { user_aliases: chunk.map((entry) => entry.value) }, events: eventsOf(chunk) })),
    ];
  },

  classify: classifyDeletion,
});

function request(entries: Entry<Update>[]): Request {
  const body: Fields = {};
  const owners: Record<string, number[]> = {};
  for (const list of LISTS) {
    const all = entries.flatMap((entry) => entry.value[list]);
    if (all.length) body[list] = all;
    // Errors name a place in a list; the tag says whose it is.
    owners[list] = entries.flatMap((entry) => entry.value[list].map(() => entry.event));
  }
  const url = `${settings.endpoint.replace(/\/$/, '')}/users/track`;
  return { url, body, events: eventsOf(entries), tag: toJson(owners) };
}

function identity(event: Event): Fields {
  const [id, anonymous, address] = [somebody(event.userId), somebody(event.anonymousId), email(traits(event).email)];
  if (id) return { external_id: id };
  if (anonymous) {
    const alias_label = settings.alias_label ?? 'anonymous_id';
    return { user_alias: { alias_name: anonymous, alias_label }, _update_existing_only: false };
  }
  if (address) return { email: address };
  throw new PluginError('no-user', 'Braze needs a `userId` or `anonymousId` of somebody, or an email');
}

function happened(event: Event, what: string, user: Fields): Fields {
  const named = event.type === 'track' ? {} : { name: name(event) };
  return { ...user, name: what, time: when(event), properties: own({ ...named, ...properties(event) }, 'event') };
}

function when(event: Event): string {
  const at = time(event);
  if (!at) throw new PluginError('no-time', 'Braze needs `timestamp`');
  return at.text;
}

/** Names of properties with which Braze refuses an event, and a purchase; so it does those that begin with `$`. */
const RESERVED = {
  event: ['time', 'event_name'],
  purchase: ['time', 'event_name', 'product_id', 'quantity', 'price', 'currency'],
};

function own(given: Fields, of: keyof typeof RESERVED, said: Fields = {}): Fields {
  return beside(given, said, (property) => RESERVED[of].includes(property) || property.startsWith('$'));
}

/** Names of attributes by which Braze knows whose they are: a trait of that name says something else. */
const WHO = ['external_id', 'user_alias', 'braze_id', '_update_existing_only'];

const GENDERS: Record<string, string> = {
  f: 'F', female: 'F', woman: 'F', m: 'M', male: 'M', man: 'M', o: 'O', other: 'O', n: 'N', p: 'P',
};

/** Traits under Braze's names. What Braze would refuse under its own name goes along as `<name>_as_sent`. */
function attributes(given: Fields): Fields {
  const { firstName, lastName, birthday, avatar, address, ...out } = given;
  const put = (to: string, sent: unknown, read: (sent: unknown) => string | undefined) => {
    const value = read(sent);
    delete out[to];
    if (value !== undefined) out[to] = value;
    else if (!isEmpty(sent)) {
      warnOnce(`Braze takes no such ${to}: it goes along as ${to}_as_sent`);
      out[`${to}_as_sent`] = sent;
    }
  };
  put('first_name', firstName ?? out.first_name, idText);
  put('last_name', lastName ?? out.last_name, idText);
  put('image_url', avatar ?? out.image_url, idText);
  put('dob', birthday ?? out.dob, day);
  put('email', out.email, email);
  put('phone', out.phone, phone);
  put('gender', out.gender, (sent) => GENDERS[idText(sent)?.trim().toLowerCase() ?? '']);
  const { city, country } = asObject(address);
  if (idText(city)) out.home_city = idText(city);
  const code = idText(country)?.trim().toUpperCase() ?? '';
  if (/^[A-Z]{2}$/.test(code)) out.country = code;
  // The rest of an address has no place in a profile of Braze: all of it is an attribute of its own, be it text or an object.
  if (!isEmpty(address)) out.address = address;
  return out;
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return typeof value === 'string' ? value.trim() === '' : typeof value === 'object' && !Object.keys(value).length;
}

/** The day of `1990-02-16`, with or without a time after it. */
function day(value: unknown): string | undefined {
  const found = /^(\d{4}-\d\d-\d\d)(?:T.*)?$/.exec(idText(value)?.trim() ?? '');
  return moment(found?.[1])?.text.slice(0, 10);
}

function purchases(event: Event, user: Fields): Fields[] {
  const given = properties(event);
  const common = currency(given.currency) ?? currency(settings.currency);
  const bought = items(given).items.filter((item) => item.quantity !== 0);
  return bought.map((item) => ({ ...user, time: when(event), ...purchase(item, common) }));
}

function purchase(item: Item, common: string | undefined): Fields {
  const product_id = item.productId ?? item.sku;
  if (!product_id || item.price === undefined) {
    throw new PluginError('no-price', 'a product needs `product_id` (or `sku`) and `price`');
  }
  const code = item.currency ?? common;
  if (!code) {
    throw new PluginError('no-currency', 'a purchase needs `currency`; the setting `currency` is for those that name none');
  }
  const { product_id: _id, productId: _other, price: _price, quantity: _quantity, currency: _currency, ...rest } = item.source;
  const sold = { product_id, currency: code };
  const isCount = Number.isInteger(item.quantity) && item.quantity > 0 && item.quantity <= QUANTITY_MAX;
  if (isCount) return { ...sold, price: item.price, quantity: item.quantity, properties: own(rest, 'purchase') };
  // Revenue is price x quantity, so this is the same: one purchase at the price of all.
  const price = Math.round(item.price * item.quantity * 1e6) / 1e6;
  return { ...sold, price, quantity: 1, properties: own(rest, 'purchase', { own_quantity: item.quantity }) };
}
