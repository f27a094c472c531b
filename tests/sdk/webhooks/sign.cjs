// Signs a body as a provider's own SDK does. Reads {"provider", "secret", "body", "id"} on stdin, prints the headers as JSON.
const fs = require('node:fs');
const path = require('node:path');

// Modules of ES are not looked for in NODE_PATH.
function octokit() {
  return import(path.join(process.env.NODE_PATH, '@octokit/webhooks-methods/dist-node/index.js'));
}

async function headers({ provider, secret, body, id }) {
  if (provider === 'github') {
    return { 'x-hub-signature-256': await (await octokit()).sign(secret, body) };
  }
  if (provider === 'stripe') {
    const Stripe = require('stripe');
    return { 'stripe-signature': new Stripe('sk_test_none').webhooks.generateTestHeaderString({ payload: body, secret }) };
  }
  if (provider === 'standard') {
    const { Webhook } = require('standardwebhooks');
    const now = new Date();
    return {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': new Webhook(secret).sign(id, now, body),
    };
  }
  throw new Error(`no SDK of ${provider}`);
}

headers(JSON.parse(fs.readFileSync(0, 'utf8'))).then((signed) => console.log(JSON.stringify(signed)));
