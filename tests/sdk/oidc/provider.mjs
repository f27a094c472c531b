// A provider of OpenID Connect on this machine: `node provider.mjs USERS.json`. It prints its issuer when it is ready.
//
// USERS.json says who there is and in which groups, and is read at every sign-in: {"alice": ["tidegate-admins"], "bob": []}.
// Whoever types a name into its form is believed.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

// Packages live in NODE_PATH, outside the clone, which only `require` looks at.
const require = createRequire(import.meta.url)
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')))

const users = () => JSON.parse(readFileSync(process.argv[2], 'utf8'))
const server = createServer()
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const issuer = `http://127.0.0.1:${server.address().port}`

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'tidegate',
      client_secret: 'the secret of the client',
      // Of a native client the port of a loopback address is left open.
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/api/v1/login/corp/callback'],
      post_logout_redirect_uris: ['http://127.0.0.1/'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
    },
  ],
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'preferred_username'],
    groups: ['groups'],
  },
  scopes: ['openid', 'email', 'profile', 'groups'],
  pkce: { required: (context, client) => context.oidc.route === 'authorization' },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  cookies: { keys: ['a key of this run'] },
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@example.test`,
      email_verified: true,
      name: id,
      preferred_username: id,
      groups: users()[id] ?? [],
    }),
  }),
  interactions: { url: (context, interaction) => `/form/${interaction.uid}` },
})

const FORM = '<!doctype html><form method="post"><input name="login"><button id="go">Sign in</button></form>'

async function body(request) {
  let text = ''
  for await (const chunk of request) text += chunk
  return new URLSearchParams(text)
}

provider.use(async (context, next) => {
  if (!context.path.startsWith('/form/')) return next()
  const details = await provider.interactionDetails(context.req, context.res)
  let result
  if (details.prompt.name === 'login') {
    if (context.method !== 'POST') {
      context.type = 'html'
      context.body = FORM
      return
    }
    result = { login: { accountId: (await body(context.req)).get('login') } }
  } else {
    const { accountId } = details.session
    const grant = new provider.Grant({ accountId, clientId: details.params.client_id })
    grant.addOIDCScope(details.params.scope)
    result = { consent: { grantId: await grant.save() } }
  }
  await provider.interactionFinished(context.req, context.res, result, { mergeWithLastSubmission: true })
  context.respond = false
})

server.on('request', provider.callback())
console.log(issuer)
