// Posts a message to Slack for each event that has a template.

import { Fail, Skip, byStatus, delivered, destination, disable, rejected, retry, retryAfterMs } from './batch.js';

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
    if (!settings.webhook && !channel) throw new Fail('no-channel', 'neither the message nor the settings name a channel');
    const text = fill(rule.text, event).slice(0, 4000);
    // A webhook is bound to its channel.
    return settings.webhook ? { text } : { channel, text, unfurl_links: false };
  },

  // Slack takes one message at a time.
  requests(records) {
    return records.map(({ event, json }) => ({ ...target(), body: json, events: [event] }));
  },

  classify(response) {
    // chat.postMessage answers 200 to nearly everything; the truth is in `ok`.
    if (response.status === 200 && response.json?.ok === false) return byError(response.json.error ?? 'unknown', response);
    if (response.status === 200) return delivered();
    // A webhook answers with a word: no_service, channel_is_archived, action_prohibited, ...
    if ([403, 404, 410].includes(response.status)) return disable(code(response.text), `Slack says ${response.text.slice(0, 100)}`);
    return byStatus(response);
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
const ABOUT_THE_MESSAGE = ['msg_too_long', 'no_text', 'invalid_blocks', 'markdown_text_conflict', 'restricted_action_thread_locked'];

function byError(error, response) {
  if (TEMPORARY.includes(error)) return retry(retryAfterMs(response.headers));
  if (ABOUT_THE_MESSAGE.includes(error)) return rejected(code(error), `Slack says ${error}`);
  // A revoked token, a channel that is gone, a right that is missing: no message will get through.
  return disable(code(error), `Slack says ${error}`);
}

const code = (error) => error.trim().replace(/[^a-z0-9]+/gi, '-').toLowerCase().slice(0, 40) || 'refused';

function fits(rule, event) {
  return (rule.type ?? 'track') === event.type && (!rule.event || rule.event === (event.event ?? event.name));
}

// `{{properties.revenue}}` stands for what the event has there.
function fill(template, event) {
  return template.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, path) => {
    const value = path.split('.').reduce((value, name) => value?.[name], event);
    if (value === undefined || value === null) return '';
    return escaped(typeof value === 'object' ? JSON.stringify(value) : String(value));
  });
}

// What Slack wants escaped; and no event may spell the placeholder of a secret.
function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('{secret.', '{ secret.');
}
