// A provider that lies: below /WAY of its address it is an issuer whose ID tokens are wrong in that way. It prints its address when it
// is ready. `honest` lies about nothing.
import { createHmac, createSign, generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'

const CLIENT = 'tidegate'
const own = generateKeyPairSync('rsa', { modulusLength: 2048 })
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = own.publicKey.export({ type: 'spki', format: 'pem' })

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const rs256 = (key) => (signed) => createSign('RSA-SHA256').update(signed).sign(key, 'base64url')

/** Of each way: what is different in the head, the claims and the signature. */
const WAYS = {
  honest: {},
  'wrong-key': { sign: rs256(stranger.privateKey) },
  'no-signature': { head: { alg: 'none' }, sign: () => '' },
  // The public key, which everybody knows, as if it were a shared secret.
  'shared-key': { head: { alg: 'HS256' }, sign: (signed) => createHmac('sha256', pem).update(signed).digest('base64url') },
  expired: { claims: (now) => ({ iat: now - 7200, exp: now - 3600 }) },
  'other-nonce': { claims: () => ({ nonce: 'another one' }) },
  'other-audience': { claims: () => ({ aud: 'another client' }) },
  'other-issuer': { claims: () => ({ iss: 'http://127.0.0.1:1/honest' }) },
  'two-audiences': { claims: () => ({ aud: [CLIENT, 'another client'] }) },
}

/** Nonces of sign-ins that are under way, by their codes. */
const codes = new Map()
let count = 0

function token(way, issuer, nonce) {
  const now = Math.floor(Date.now() / 1000)
  const { head = {}, claims = () => ({}), sign = rs256(own.privateKey) } = WAYS[way]
  const good = { iss: issuer, aud: CLIENT, sub: 'mallory', iat: now, exp: now + 300, nonce, preferred_username: 'mallory', groups: ['admins'] }
  const signed = `${encoded({ alg: 'RS256', kid: 'one', ...head })}.${encoded({ ...good, ...claims(now) })}`
  return `${signed}.${sign(signed)}`
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, address)
  const [, way, ...rest] = url.pathname.split('/')
  const issuer = `${address}/${way}`
  const json = (value) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(value))
  }
  switch (rest.join('/')) {
    case '.well-known/openid-configuration':
      return json({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
      })
    case 'authorize': {
      const code = `code-${(count += 1)}`
      codes.set(code, url.searchParams.get('nonce'))
      const back = new URL(url.searchParams.get('redirect_uri'))
      back.searchParams.set('code', code)
      back.searchParams.set('state', url.searchParams.get('state'))
      response.writeHead(302, { location: back.href })
      return response.end()
    }
    case 'token': {
      let text = ''
      for await (const chunk of request) text += chunk
      const nonce = codes.get(new URLSearchParams(text).get('code'))
      return json({ id_token: token(way, issuer, nonce), token_type: 'Bearer' })
    }
    case 'keys':
      return json({ keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig' }] })
    default:
      response.writeHead(404)
      return response.end()
  }
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const address = `http://127.0.0.1:${server.address().port}`
console.log(address)
