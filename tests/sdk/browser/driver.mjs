// Runs one browser SDK in headless Chromium: `node driver.mjs <client>`.
//
// The page is served from an origin of its own, so every request to the server is a cross-origin one, with its
// preflight. A client that sends each event alone is done when Chromium has an answer to each. A client that batches
// closes its page while the last events still wait in the SDK, which must send them on the way out.
import { createServer } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

// Packages live in NODE_PATH, outside the clone, which only `require` looks at.
const require = createRequire(import.meta.url)
const esbuild = require('esbuild')
const { chromium } = require('playwright-core')
const { expected, known, run, version } = require('../node/events.cjs')

// `answers` is the number of posts to see answered; with `batching` the page is closed right then.
const HIGHTOUCH = { page: 'hightouch.js', sdk: '@ht-sdks/events-sdk-js-browser' }
const SEGMENT = { page: 'segment.js', sdk: '@segment/analytics-next' }
const RUDDER = { page: 'rudder.js', sdk: '@rudderstack/analytics-js' }
// Comes from the server; there is no package of it.
const TIDEGATE = { page: 'tidegate.js', sdk: 'tidegate.js', version: '1' }
const CLIENTS = {
  'hightouch-browser': { ...HIGHTOUCH, answers: 29 },
  'hightouch-browser-batching': { ...HIGHTOUCH, batching: true, answers: 2 },
  'segment-browser': { ...SEGMENT, answers: 29 },
  'segment-browser-batching': { ...SEGMENT, batching: true, answers: 1 },
  'rudder-browser': { ...RUDDER, answers: 29 },
  'tidegate-browser': { ...TIDEGATE, answers: 1 },
  'rudder-browser-beacon': { ...RUDDER, batching: true, answers: 2 },
}
const ANSWERS_WAIT_MAX_MS = 30_000
// Chromium tells nobody about the answer to a request whose page is gone, so it is kept open for a while instead.
const LINGER_MS = 2_000
const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--no-proxy-server',
]

const { TIDEGATE_URL: url, TIDEGATE_WRITE_KEY: writeKey } = process.env

async function bundle(page) {
  const built = await esbuild.build({
    entryPoints: [join(import.meta.dirname, 'pages', page)],
    bundle: true,
    write: false,
    nodePaths: [process.env.NODE_PATH],
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'error',
  })
  return built.outputFiles[0].contents
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

/** Resolves when `count` posts to the server are answered 200; rejects on any other answer, on none, and when late. */
function answered(context, count) {
  return new Promise((resolve, reject) => {
    let answers = 0
    setTimeout(() => reject(new Error(`only ${answers} of ${count} posts are answered`)), ANSWERS_WAIT_MAX_MS).unref()
    context.on('requestfinished', async (request) => {
      if (request.method() !== 'POST' || !request.url().startsWith(url)) return
      const status = (await request.response().catch(reject))?.status()
      if (status !== 200) reject(new Error(`${request.url()} is answered ${status}`))
      answers += 1
      if (answers === count) resolve()
    })
    context.on('requestfailed', (request) => {
      if (request.url().startsWith(url)) reject(new Error(`${request.url()}: ${request.failure()?.errorText}`))
    })
  })
}

async function drive(client, context, origin) {
  const failures = []
  const page = await context.newPage()
  page.on('console', (message) => message.type() === 'error' && console.error(message.text()))
  page.on('pageerror', (error) => failures.push(String(error)))
  await page.exposeFunction('fail', (reason) => failures.push(reason))
  await page.goto(origin)
  const { batching } = client
  const send = (config) => globalThis.send({ ...config, fail: globalThis.fail })
  await Promise.all([
    answered(context, client.answers),
    page.evaluate(send, { url, writeKey, run, known, batching }),
  ])
  if (batching) {
    await page.close()
    await pause(LINGER_MS)
  }
  if (failures.length > 0) throw new Error(failures.join('\n'))
}

async function main() {
  const client = CLIENTS[process.argv[2]]
  const server = await serve(await bundle(client.page))
  const profile = mkdtempSync(join(tmpdir(), 'tidegate-sdk-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: CHROMIUM_FLAGS,
  })
  try {
    await drive(client, context, `http://127.0.0.1:${server.address().port}/`)
  } finally {
    await context.close()
    server.close()
    rmSync(profile, { recursive: true, force: true })
  }
  console.log(JSON.stringify({ sdk: client.sdk, version: client.version ?? version(client.sdk), expected, run }))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
