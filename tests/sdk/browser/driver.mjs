// Runs one browser SDK in headless Chromium: `node driver.mjs <client>`.
//
// The page is served from an origin of its own, so every request to the server is a cross-origin one, with its
// preflight. A client is done when Chromium has an answer for as many events as the page has sent.
import { createServer } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Packages live in NODE_PATH, outside the clone, which only `require` looks at.
const require = createRequire(import.meta.url)
const esbuild = require('esbuild')
const { chromium } = require('playwright-core')
const { expected, known, run, version } = require('../node/events.cjs')

const CLIENTS = {
  'hightouch-browser': { page: 'hightouch.js', sdk: '@ht-sdks/events-sdk-js-browser' },
  'hightouch-browser-batching': { page: 'hightouch.js', sdk: '@ht-sdks/events-sdk-js-browser', batching: true },
  'segment-browser': { page: 'segment.js', sdk: '@segment/analytics-next' },
  'segment-browser-batching': { page: 'segment.js', sdk: '@segment/analytics-next', batching: true },
  'rudder-browser': { page: 'rudder.js', sdk: '@rudderstack/analytics-js' },
  'rudder-browser-beacon': { page: 'rudder.js', sdk: '@rudderstack/analytics-js', batching: true },
}
const EVENTS_SENT = 29
const ANSWERS_WAIT_MAX_MS = 30_000

const { TIDEGATE_URL: url, TIDEGATE_WRITE_KEY: writeKey } = process.env
const client = CLIENTS[process.argv[2]]
const failures = []

function eventCount(request) {
  const body = JSON.parse(request.postData() ?? 'null')
  return body?.batch?.length ?? (body?.messageId ? 1 : 0)
}

async function serve(script) {
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.setHeader('Content-Type', isScript ? 'text/javascript; charset=utf-8' : 'text/html; charset=utf-8')
    response.end(isScript ? script : '<!doctype html><title>Tide page</title><script src="/page.js"></script>')
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

async function drive(context, origin) {
  let answered = 0
  let settle
  const complete = new Promise((resolve) => (settle = resolve))
  context.on('requestfinished', async (request) => {
    if (request.method() !== 'POST' || !request.url().startsWith(url)) return
    const response = await request.response()
    if (process.env.TRACE) console.error('FIN', request.url(), eventCount(request), response?.status())
    if (response?.status() !== 200) failures.push(`${request.url()} is answered ${response?.status()}`)
    answered += eventCount(request)
    if (answered >= EVENTS_SENT || failures.length > 0) settle()
  })
  context.on('requestfailed', (request) => {
    if (process.env.TRACE) console.error('FAILED', request.url(), request.failure()?.errorText)
    if (!request.url().startsWith(url)) return
    failures.push(`${request.url()}: ${request.failure()?.errorText}`)
    settle()
  })

  const page = await context.newPage()
  page.on('console', (message) => message.type() === 'error' && console.error(message.text()))
  await page.exposeFunction('fail', (reason) => failures.push(reason))
  await page.goto(origin)
  await page.evaluate((config) => globalThis.send({ ...config, fail: globalThis.fail }), {
    url,
    writeKey,
    run,
    known,
    batching: client.batching,
  })
  if (client.batching) {
    if (process.env.TRACE) console.error('leaving', answered)
    await (process.env.LEAVE === 'close' ? page.close() : page.goto('about:blank'))
  }
  const timer = setTimeout(() => {
    failures.push(`${answered} of ${EVENTS_SENT} events are answered`)
    settle()
  }, ANSWERS_WAIT_MAX_MS)
  await complete
  clearTimeout(timer)
}

const bundle = await esbuild.build({
  entryPoints: [join(import.meta.dirname, 'pages', client.page)],
  bundle: true,
  write: false,
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'error',
})
const server = await serve(bundle.outputFiles[0].contents)
const profile = mkdtempSync(join(tmpdir(), 'tidegate-sdk-'))
const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--no-proxy-server',
  ],
})
try {
  await drive(context, `http://127.0.0.1:${server.address().port}/`)
} finally {
  await context.close()
  server.close()
  rmSync(profile, { recursive: true, force: true })
}
if (failures.length > 0) {
  console.error(failures.join('\n'))
  process.exit(1)
}
console.log(JSON.stringify({ sdk: client.sdk, version: version(client.sdk), expected, run }))
