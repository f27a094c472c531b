// Posts a message to Slack for each event that has a template.

import {
  PluginError, Skip, answerOf, classifyByKey, classifyByStatus, destination, disable, rejected, retry,
  retryAfterMs, toJson,
} from 'tidegate';

/** Slack asks for no more characters in a message. */
const TEXT_MAX = 4000;

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) {
    if (!given.bot_token && !given.webhook) throw new Error('give `bot_token` (with `channel`), or `webhook`');
    settings = given;
  },

  record(event) {
    const rule = settings.messages.find((rule) => fits(rule, event));
    if (!rule) throw new Skip('no message for this event');
    const channel = rule.channel ?? settings.channel;
    if (!settings.webhook && !channel) throw new PluginError('no-channel', 'neither the message nor the settings name a channel');
    const text = cut(fill(rule.text, event));
    if (!text.trim()) throw new PluginError('no-text', 'the message has no text: nothing in the template has a value');
    // A webhook is bound to its channel.
    return settings.webhook ? { text } : { channel, text, unfurl_links: false };
  },

  // Slack takes one message at a time.
  requests(entries) {
    return entries.map(({ event, json }) => ({ ...target(), body: json, events: [event] }));
  },

  classify(answer) {
    const { response } = answer;
    const said = answerOf(response);
    // chat.postMessage answers 200 to nearly everything; the truth is in `ok`.
    if (response.status === 200) return said?.ok === false ? byError(String(said.error ?? 'unknown'), response) : 'delivered';
    // A webhook answers with a word: no_service, channel_is_archived, action_prohibited. Anything else is of a proxy.
    const isWord = /^[a-z_]{3,60}$/.test(response.text.trim());
    if ([403, 404, 410].includes(response.status) && isWord) return disable(code(response.text), `Slack says ${response.text.trim()}`);
    return settings.webhook ? classifyByStatus(answer) : classifyByKey(answer);
  },
});

function target() {
  if (settings.webhook) {
    const { team, hook, token } = { ...settings.webhook, token: settings.webhook_token };
    return { url: `https://hooks.slack.com/services/${encodeURIComponent(team)}/${encodeURIComponent(hook)}/${token}` };
  }
  return {
    url: 'https://slack.com/api/chat.postMessage',
    headers: { 'content-type': 'application/json; charset=utf-8', authorization: `Bearer ${settings.bot_token}` },
  };
}

const TEMPORARY = ['ratelimited', 'rate_limited', 'internal_error', 'fatal_error', 'service_unavailable', 'request_timeout'];
// The token, its scope or its workspace: no message to any channel will get through.
const ABOUT_THE_TOKEN = [
  'not_authed', 'invalid_auth', 'account_inactive', 'token_revoked', 'token_expired', 'no_permission', 'missing_scope',
  'not_allowed_token_type', 'org_login_required', 'ekm_access_denied', 'team_access_not_granted', 'enterprise_is_restricted',
  'two_factor_setup_required', 'access_denied', 'accesslimited', 'team_added_to_org',
];

// All else is about a message or its channel: one that was archived stops what goes to it and nothing else.
function byError(error, response) {
  if (TEMPORARY.includes(error)) return retry(retryAfterMs(response));
  return ABOUT_THE_TOKEN.includes(error) ? disable(code(error), `Slack says ${error}`) : rejected(code(error), `Slack says ${error}`);
}

const code = (error) => error.trim().replace(/[^a-z0-9]+/gi, '-').toLowerCase().slice(0, 40) || 'refused';

function fits(rule, event) {
  return (rule.type ?? 'track') === event.type && (!rule.event || rule.event === (event.event ?? event.name));
}

// `{{properties.revenue}}` stands for what the event has there.
function fill(template, event) {
  return template.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, path) => {
    const value = path.split('.').reduce((value, name) => (Object.hasOwn(Object(value), name) ? value[name] : undefined), event);
    if (value === undefined || value === null) return '';
    return escaped(typeof value === 'object' ? toJson(value) : String(value));
  });
}

// What Slack wants escaped; and no event may spell the placeholder of a secret.
function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('{secret.', '{ secret.');
}

// Never within a character, nor within an escape; the dots say that something is missing.
function cut(text) {
  const characters = [...text];
  if (characters.length <= TEXT_MAX) return text;
  return `${characters.slice(0, TEXT_MAX - 1).join('').replace(/&[a-z]{0,3}$/, '')}…`;
}
