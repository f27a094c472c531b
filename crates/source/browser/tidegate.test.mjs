// The browser SDK without a browser: `node --test`. In a browser it is tried by tests/it/browser_sdk/driven.rs.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import vm from 'node:vm'

const SCRIPT = readFileSync(new URL('tidegate.js', import.meta.url), 'utf8')
const TURNS_MS = 60

function storageOf(kept) {
  const calls = {
    getItem: (name) => kept[name] ?? null,
    setItem: (name, value) => {
      kept[name] = String(value)
    },
    removeItem: (name) => delete kept[name],
  }
  return new Proxy({}, {
    get: (_, name) => calls[name],
    ownKeys: () => Object.keys(kept),
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
  })
}

/** A page with the SDK: `kept` is its localStorage, `jar` its cookies, `answer` the server. */
function page({ kept = {}, jar = {}, before, dataset = {}, answer = () => ({ status: 200 }) } = {}) {
  const seen = { sent: [], beacons: [], said: [], heard: {}, kept, jar }
  const hear = (name, listener) => {
    seen.heard[name] = listener
  }
  const window = {
    AbortSignal, Intl, TextEncoder, URLSearchParams, clearTimeout, crypto, queueMicrotask,
    addEventListener: hear,
    console: { error: (text) => seen.said.push(text), warn: (text) => seen.said.push(text) },
    document: {
      addEventListener: hear,
      currentScript: { src: 'https://events.example.com/in/sdk/v1/tidegate.js', dataset },
      referrer: '',
      title: 'Home',
      visibilityState: 'visible',
      get cookie() {
        return Object.entries(jar).map((pair) => pair.join('=')).join('; ')
      },
      set cookie(text) {
        const [pair, ...attributes] = text.split('; ')
        const [name, value] = pair.split('=')
        if (attributes.includes('Domain=com')) return
        if (attributes.includes('Max-Age=0')) delete jar[name]
        else jar[name] = value
      },
    },
    fetch: async (url, { body }) => {
      const reply = answer(url, body)
      seen.sent.push({ path: url.slice('https://events.example.com/in'.length), body, batch: body && JSON.parse(body).batch })
      if (reply instanceof Error) throw reply
      const { status, json = {} } = reply
      return { ok: status === 200, status, headers: new Headers(), json: async () => json, text: async () => '' }
    },
    localStorage: storageOf(kept),
    location: {
      hostname: 'www.example.com',
      href: 'https://www.example.com/a?utm_source=x&utm_campaign=spring#part',
      pathname: '/a',
      protocol: 'https:',
      search: '?utm_source=x&utm_campaign=spring',
    },
    navigator: { language: 'de', onLine: true, userAgent: 'test', sendBeacon: (_, body) => seen.beacons.push(JSON.parse(body).batch) > 0 },
    setTimeout: (run, ms) => setTimeout(() => seen.isGone || run(), Math.min(ms, 20)).unref(),
    tidegate: before,
  }
  window.window = window
  vm.createContext(window)
  vm.runInContext(SCRIPT, window)
  return Object.assign(seen, { sdk: window.tidegate })
}

const events = ({ sent }) => sent.flatMap(({ batch }) => batch ?? [])
const names = (seen) => events(seen).map(({ event }) => event)
const queues = (kept) => Object.keys(kept).filter((name) => name.startsWith('tg_queue.'))

test('calls that were made before the script was there are sent in their order, in one batch', async () => {
  const before = [['page'], ['load', 'KEY'], ['identify', 'ann', { plan: 'pro' }], ['track', 'Bought', { n: 1 }], ['group', 'g'], ['alias', 'b']]
  const seen = page({ before })
  await pause(TURNS_MS)
  assert.deepEqual(seen.sent.map(({ path }) => path), ['/v1/batch'])
  const [first, identify, track, , alias] = events(seen)
  assert.deepEqual(events(seen).map(({ type }) => type), ['page', 'identify', 'track', 'group', 'alias'])
  assert.ok(!('userId' in first))
  assert.deepEqual([identify.userId, track.userId, alias.previousId, alias.userId], ['ann', 'ann', 'ann', 'b'])
  assert.deepEqual(first.context.campaign, { source: 'x', name: 'spring' })
  assert.equal(first.properties.url, 'https://www.example.com/a?utm_source=x&utm_campaign=spring')
  assert.deepEqual([seen.jar.tg_anonymous_id, seen.kept.tg_anonymous_id], [first.anonymousId, first.anonymousId])
  assert.deepEqual(queues(seen.kept), [])
  seen.sdk.reset()
  assert.equal(seen.sdk.user().id(), null)
  assert.notEqual(seen.sdk.user().anonymousId(), first.anonymousId)
})

test('another user of the same browser is another visitor, and the same one is not', () => {
  const { sdk } = page()
  sdk.load('KEY')
  const first = sdk.user().anonymousId()
  sdk.identify('ann')
  sdk.identify('ann')
  assert.equal(sdk.user().anonymousId(), first)
  sdk.identify('bob')
  assert.notEqual(sdk.user().anonymousId(), first)
})

test('the next page sends what a page has left, under the same ids', async () => {
  const [kept, jar] = [{}, {}]
  const left = page({ kept, jar, answer: () => new Error('no network') })
  left.sdk.load('KEY', { flushMs: 1 })
  left.sdk.track('A')
  await pause(TURNS_MS)
  left.sdk.track('B')
  await pause(TURNS_MS)
  left.heard.pagehide()
  left.isGone = true
  assert.equal(left.beacons.length, 1)
  const other = page({ kept, jar })
  other.sdk.load('ANOTHER KEY')
  await pause(TURNS_MS)
  assert.deepEqual(names(other), [], 'it is of another source')
  const next = page({ kept, jar })
  next.sdk.load('KEY')
  await pause(TURNS_MS)
  assert.deepEqual(names(next), ['A', 'B'])
  assert.deepEqual(events(next).map(({ messageId }) => messageId), left.beacons[0].map(({ messageId }) => messageId))
  assert.deepEqual(queues(kept), [])
})

test('a wrong key is said once, and nothing more is sent', async () => {
  const seen = page({ answer: () => ({ status: 401, json: { code: 'unknown-write-key', message: 'no source has it' } }) })
  seen.sdk.load('WRONG', { flushMs: 1 })
  for (const name of ['A', 'B']) {
    seen.sdk.track(name)
    await pause(TURNS_MS)
  }
  assert.equal(seen.sent.length, 1)
  assert.equal(seen.said.length, 1)
  assert.match(seen.said[0], /401 unknown-write-key: no source has it\. Nothing more is sent/)
})

test('an event that is refused costs no other', async () => {
  const answer = (_, body) => (body.includes('"bad"') ? { status: 400, json: { code: 'c', message: 'm' } } : { status: 200 })
  const seen = page({ answer })
  seen.sdk.load('KEY', { flushMs: 1 })
  for (const name of ['a', 'bad', 'c']) seen.sdk.track(name)
  await pause(TURNS_MS)
  assert.deepEqual(seen.sent.map(({ batch }) => batch.map(({ event }) => event).join()), ['a,bad,c', 'a', 'bad', 'c'])
  assert.equal(seen.said.length, 1)
})

for (const [consent, wanted] of [['hold', ['A', 'B', 'C']], ['drop', ['C']]]) {
  test(`before consent events are as ${consent} says, and nothing is kept`, async () => {
    const seen = page()
    seen.sdk.load('KEY', { consent, flushMs: 1 })
    seen.sdk.track('A')
    assert.deepEqual([seen.kept, seen.jar], [{}, {}])
    seen.sdk.consent({ analytics: false, ads: true })
    seen.sdk.track('B')
    await pause(TURNS_MS)
    assert.deepEqual([seen.sent, Object.keys(seen.kept), seen.jar], [[], ['tg_consent'], {}])
    seen.sdk.consent({ analytics: true })
    seen.sdk.track('C')
    await pause(TURNS_MS)
    assert.deepEqual(names(seen), wanted)
    for (const { anonymousId, context } of events(seen)) {
      assert.equal(anonymousId, seen.jar.tg_anonymous_id)
      assert.deepEqual(context.consent, { categoryPreferences: { analytics: true, ads: true } })
    }
    seen.sdk.consent({ analytics: false })
    assert.deepEqual([Object.keys(seen.kept), seen.jar], [['tg_consent'], {}])
    const next = page({ kept: seen.kept })
    next.sdk.load('KEY', { consent, flushMs: 1 })
    next.sdk.track('D')
    await pause(TURNS_MS)
    assert.deepEqual(next.sent, [], 'the choice is kept')
    next.kept.tg_consent = '{"analytics":true}'
    next.heard.storage({ key: 'tg_consent' })
    next.sdk.track('E')
    await pause(TURNS_MS)
    assert.equal(names(next).at(-1), 'E', 'and goes for all tabs')
  })
}

test('a refusal deletes what pages that are gone have left, and an event that cannot be sent costs no other that is held', async () => {
  const kept = {}
  const gone = page({ kept, answer: () => new Error('no network') })
  gone.sdk.load('KEY', { flushMs: 1 })
  gone.sdk.track('A')
  await pause(TURNS_MS)
  gone.isGone = true
  assert.equal(queues(kept).length, 1)
  const next = page({ kept })
  next.sdk.load('KEY', { consent: 'hold', flushMs: 1 })
  next.sdk.consent({ analytics: false })
  assert.deepEqual(queues(kept), [], 'nobody has said goodbye for it')
  const properties = { step: { n: 1 } }
  next.sdk.track('B', properties)
  properties.step.n = 2
  next.sdk.track('C', { n: 1n })
  next.sdk.track('D')
  next.sdk.consent({ analytics: true })
  await pause(TURNS_MS)
  assert.deepEqual(names(next), ['B', 'D'])
  assert.equal(events(next)[0].properties.step.n, 1)
  assert.equal(next.said.length, 1)
})

test('calls wait for the cookies that the server brings back', async () => {
  const jar = {}
  const answer = (url) => {
    if (url.endsWith('/renew')) jar.tg_anonymous_id ??= 'from-before'
    return { status: 200 }
  }
  const seen = page({ jar, answer })
  seen.sdk.load('KEY', { cookieService: true, flushMs: 1 })
  seen.sdk.track('A')
  await pause(TURNS_MS)
  assert.deepEqual(seen.sent.map(({ path }) => path), ['/sdk/v1/cookies/renew', '/v1/batch'])
  assert.equal(events(seen)[0].anonymousId, 'from-before')
  seen.sdk.reset()
  await pause(TURNS_MS)
  assert.deepEqual(seen.sent.slice(2).map(({ path }) => path), ['/sdk/v1/cookies/clear', '/sdk/v1/cookies/renew'])
})

test('attributes load it, ids of another SDK stay, and what is strange in the storage does no harm', async () => {
  const kept = { 'tg_queue.a': 'no json', 'tg_queue.b': '{"at":0,"writeKey":"KEY","queue":7}', tg_consent: '7' }
  const seen = page({ dataset: { writeKey: 'KEY', page: '', flushMs: '1' }, jar: { ajs_anonymous_id: '%22visitor%22' }, kept })
  await pause(TURNS_MS)
  assert.deepEqual(events(seen).map(({ type, anonymousId }) => [type, anonymousId]), [['page', 'visitor']])
  assert.deepEqual(queues(kept), [])
})

test('batches are small enough to outlive their page', async () => {
  const seen = page()
  seen.sdk.load('KEY')
  for (let n = 0; n < 45; n += 1) seen.sdk.track('A', { text: 'ü'.repeat(1_000) })
  await pause(TURNS_MS)
  assert.equal(new Set(events(seen).map(({ messageId }) => messageId)).size, 45)
  assert.ok(seen.sent.every(({ body }) => Buffer.byteLength(body) < 60_000))
})

test('a page is told what is wrong with a call, and is not broken by it', () => {
  const { sdk, said } = page()
  const circle = {}
  circle.circle = circle
  for (const call of [['load', ''], ['load', 'KEY', { host: '' }], ['load', 'KEY'], ['load', 'KEY'], ['track'], ['track', 'A', circle], ['nothing']]) {
    sdk.push(call)
  }
  assert.equal(said.length, 6)
  assert.ok(said.every((text) => text.startsWith('tidegate: ')))
})
