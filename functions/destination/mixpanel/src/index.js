// Sends events to Mixpanel's /import and traits to /engage.

import {
  PluginError, Skip, answerOf, asList, beside, bisect, chunks, classifyByKey, contextText, destination, email,
  eventName, eventsOf, jsonArray, messageId, moment, name, partial, phone, properties, somebody, time, traits,
  userId,
} from 'tidegate';

const HOSTS = { us: 'https://api.mixpanel.com', eu: 'https://api-eu.mixpanel.com', in: 'https://api-in.mixpanel.com' };
// An event may have 1 MB.
const IMPORT = { count: 2000, bytes: 9_900_000, record: 1_000_000 };
const ENGAGE = { count: 2000, bytes: 990_000 };

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) {
    settings = { region: 'us', page_event: 'Page Viewed', screen_event: 'Screen Viewed', ...given };
  },

  record(event) {
    const who = people(event);
    return event.type === 'identify' ? profile(event, who) : action(event, who);
  },

  requests(entries, plan) {
    const host = HOSTS[settings.region];
    const planned = (path, tag, some, limits) => chunks(some, limits, plan).map((chunk) => ({
      url: host + path, body: jsonArray(chunk), events: eventsOf(chunk), tag,
    }));
    return [
      ...planned('/import?strict=1', 'import', entries.filter((entry) => entry.value.event), IMPORT),
      ...planned('/engage?verbose=1', 'engage', entries.filter((entry) => !entry.value.event), ENGAGE),
    ];
  },

  classify(answer) {
    const { events, response, tag } = answer;
    const said = answerOf(response);
    if (tag === 'import' && response.status === 400) return validated(answer, said);
    // /engage answers 200 and says in the body that it took nothing.
    if (tag === 'engage' && response.status === 200 && said?.status === 0) return bisect('refused', `Mixpanel says ${said.error}`);
    return classifyByKey(answer);
  },
});

// What Mixpanel refuses as a `distinct_id` beside what is nobody for every tool.
const REFUSED = ['-1', '00000000-0000-0000-0000-000000000000', '<nil>', '[]', '{}', 'anon', 'lmy47d', 'n/a', 'na', 'nil', 'unknown'];

function people(event) {
  const taken = (id) => (REFUSED.includes(id?.trim().toLowerCase()) ? undefined : id);
  const [user, device] = [taken(somebody(event.userId)), taken(somebody(event.anonymousId))];
  if (!user && !device) throw new PluginError('no-user', 'Mixpanel needs a `userId` or `anonymousId` of somebody');
  // Simplified identity merge: the first event that carries both joins the device to the user.
  return { user, device, distinct: user ?? `$device:${device}`, nobody: user ? undefined : userId(event) };
}

// What Mixpanel reads as its own, so that no property may say it. One of that name goes along under `own_<name>`.
const RESERVED = ['time', 'distinct_id', 'ip', 'token', '$user_id', '$device_id', '$insert_id', 'mp_lib'];

function action(event, who) {
  const at = time(event);
  if (!at) throw new PluginError('no-time', 'Mixpanel needs `timestamp`');
  const named = event.type === 'track' ? {} : { name: name(event) };
  const own = { ...named, ...properties(event) };
  const said = {
    time: at.ms,
    distinct_id: who.distinct,
    $user_id: who.user,
    $device_id: who.device,
    $insert_id: insertId(event),
    refused_user_id: who.nobody,
    // Mixpanel finds the place of an address, also of one that stands in the properties.
    ip: contextText(event, 'ip') ?? (isAddress(own.ip) ? own.ip : undefined),
    $current_url: contextText(event, 'page.url'),
    $referrer: contextText(event, 'page.referrer'),
    $os: contextText(event, 'os.name'),
    $app_version_string: contextText(event, 'app.version'),
    mp_lib: 'tidegate',
  };
  return {
    event: eventName(event, { page: settings.page_event, screen: settings.screen_event }),
    properties: beside(own, said, (property) => RESERVED.includes(property)),
  };
}

const isAddress = (value) => typeof value === 'string' && /^(\d{1,3}(\.\d{1,3}){3}|[\da-f]{0,4}:[\da-f:.]+)$/i.test(value);

// Traits that Mixpanel has names for, and what it takes there. What it would not take stays under the trait's own name.
const PROFILE = {
  email: ['$email', email],
  phone: ['$phone', phone],
  name: ['$name', (value) => value],
  firstName: ['$first_name', (value) => value],
  lastName: ['$last_name', (value) => value],
  avatar: ['$avatar', (value) => value],
  createdAt: ['$created', (value) => moment(value)?.text],
};

function profile(event, who) {
  const [own, said] = [{ ...traits(event) }, {}];
  for (const [trait, [to, read]] of Object.entries(PROFILE)) {
    const found = Object.hasOwn(own, trait) ? read(own[trait]) : undefined;
    if (found === undefined) continue;
    said[to] = found;
    delete own[trait];
  }
  const set = beside(own, said);
  if (!Object.keys(set).length) throw new Skip('no traits to set');
  return { $token: settings.project_token, $distinct_id: who.distinct, $ip: contextText(event, 'ip') ?? '0', $set: set };
}

// 36 letters, digits and `-`. The end of an id is where ids differ.
function insertId(event) {
  return messageId(event)?.replace(/[^A-Za-z0-9-]/g, '-').slice(-36);
}

// Strict mode: what is not listed was taken.
function validated(answer, said) {
  const places = new Set(asList(said?.failed_records).map((record) => record?.index));
  if (!places.size) return classifyByKey(answer);
  return partial(answer.events.filter((_, place) => places.has(place)).map((event) => [event, false]));
}
