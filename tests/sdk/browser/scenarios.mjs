// What happens to Tidegate's browser SDK on real pages, in headless Chromium. Prints what was seen as one line of JSON.
//
//   node scenarios.mjs '{"url": URL, "key": WRITE_KEY}'
//
// Pages come from an origin of their own. Below /in/ the same origin hands on to the server, as a proxy of a shop would.
import { createServer, request as ask } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

// Packages live in NODE_PATH, outside the clone, which only `require` looks at.
const require = createRequire(import.meta.url)
const esbuild = require('esbuild')
const { chromium } = require('playwright-core')
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage', '--no-proxy-server']
const WAIT_MAX_MS = 30_000
// Chromium tells nobody about the answer to a request whose page is gone.
const LINGER_MS = 2_000

const { url, key } = JSON.parse(process.argv[2])
const seen = { said: [] }

const SNIPPET = (base, options, writeKey = key) => `<script>
  window.tidegate ||= []
  for (const name of ['load', 'identify', 'track', 'page', 'group', 'alias', 'reset', 'consent', 'ready'])
    tidegate[name] ||= (...args) => tidegate.push([name, ...args])
  tidegate.load('${writeKey}', ${JSON.stringify(options)})
</script>
<script async src="${base}/sdk/v1/tidegate.js"></script>`

const PAGES = {
  '/plain': () => SNIPPET(url, { flushMs: 100 }),
  '/early': () => SNIPPET(url, { flushMs: 100 }).replace('</script>', `
    tidegate.page('Home', { run: 'early' })
    tidegate.identify('early-user', { run: 'early' })
    for (let n = 0; n < 3; n += 1) tidegate.track('Browser Seen', { run: 'early', n })
    tidegate.group('early-group', { run: 'early' })
    tidegate.alias('early-user', 'early-prev')
  </script>`),
  '/slow': () => SNIPPET(url, { flushMs: 600_000, flushAt: 1_000 }),
  '/hold': () => SNIPPET(url, { flushMs: 50, consent: 'hold' }),
  '/drop': () => SNIPPET(url, { flushMs: 50, consent: 'drop' }),
  '/wrong': () => SNIPPET(url, { flushMs: 50 }, 'a-key-of-nobody-0123'),
  '/proxied': () => SNIPPET('/in', { flushMs: 50, cookieService: true }),
  '/hightouch': () => '<script src="/hightouch.js"></script>',
  '/strict': () => `<script async src="${url}/sdk/v1/tidegate.js" data-write-key="${key}" data-page data-flush-ms="50"></script>`,
}

function handOn(incoming, response) {
  const { host, ...headers } = incoming.headers
  const outgoing = ask(url + incoming.url.slice(3), { method: incoming.method, headers }, (reply) => {
    response.writeHead(reply.statusCode, reply.headers)
    reply.pipe(response)
  })
  outgoing.on('error', () => response.destroy())
  incoming.pipe(outgoing)
}

async function bundled(page) {
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

async function serve() {
  const hightouch = await bundled('hightouch-cookies.js')
  const server = createServer((request, response) => {
    if (request.url.startsWith('/in/')) return handOn(request, response)
    if (request.url === '/hightouch.js') {
      response.setHeader('Content-Type', 'text/javascript; charset=utf-8')
      return response.end(hightouch)
    }
    const page = PAGES[request.url.split('?')[0]]
    response.setHeader('Content-Type', 'text/html; charset=utf-8')
    if (request.url.startsWith('/strict')) {
      response.setHeader('Content-Security-Policy', `default-src 'none'; img-src data:; script-src ${url}; connect-src ${url}`)
    }
    response.end(`<!doctype html><link rel="icon" href="data:,"><title>Tide page</title>${page ? page() : ''}`)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

let browser
let origin

async function visitor() {
  const context = await browser.newContext()
  context.setDefaultTimeout(WAIT_MAX_MS)
  return context
}

/** Opens a page and waits for the SDK. What the page says on its console goes to `said`. */
async function opened(context, path, said = seen.said) {
  const page = await context.newPage()
  page.on('console', (message) => message.type() === 'error' && said.push(`${path}: ${message.text()}`))
  page.on('pageerror', (error) => said.push(`${path}: ${error}`))
  await page.goto(origin + path)
  await page.waitForFunction(() => window.tidegate?.version)
  return page
}

const track = (page, run, count, from = 0) =>
  page.evaluate(([run, count, from]) => {
    for (let n = from; n < from + count; n += 1) tidegate.track('Browser Seen', { run, n })
  }, [run, count, from])

/** Until everything that was called is answered by the server. */
async function sent(page) {
  await page.evaluate(() => tidegate.flush())
  await page.waitForFunction(() => !Object.keys(localStorage).some((name) => name.startsWith('tg_queue.')))
}

const kept = (page) => page.evaluate(() => [document.cookie, ...Object.keys(localStorage)].filter(Boolean))
const idOf = (page) => page.evaluate(() => tidegate.user().anonymousId())

/** Calls that were made before the SDK was there. */
async function early() {
  const context = await visitor()
  await sent(await opened(context, '/early?utm_source=letter&utm_campaign=spring'))
  await context.close()
}

/** Events of a browser without a network arrive when it is back; those of a page that was left meanwhile with the next page. */
async function offline() {
  const context = await visitor()
  const said = []
  const page = await opened(context, '/plain', said)
  await context.setOffline(true)
  await track(page, 'offline', 3)
  await page.waitForFunction(() => Object.keys(localStorage).some((name) => name.startsWith('tg_queue.')))
  await context.setOffline(false)
  await sent(page)
  await context.setOffline(true)
  await track(page, 'left', 3)
  await page.goto('about:blank')
  await context.setOffline(false)
  await sent(await opened(context, '/plain'))
  await context.close()
}

/** A page that is closed while its events wait: they go by beacon, and nothing of this visitor is ever opened again. */
async function closed() {
  const context = await visitor()
  const page = await opened(context, '/slow')
  await track(page, 'closed', 3)
  await page.close()
  await pause(LINGER_MS)
  await context.close()
}

async function consented(path, run) {
  const context = await visitor()
  const page = await opened(context, path)
  await track(page, run, 1)
  const before = await kept(page)
  await page.evaluate(() => tidegate.consent({ analytics: false, ads: false }))
  await track(page, run, 1, 1)
  const denied = await kept(page)
  await page.evaluate(() => tidegate.consent({ analytics: true }))
  await track(page, run, 1, 2)
  await sent(page)
  const given = await kept(page)
  seen[run] = { before, denied, given: given.length }
  await context.close()
}

async function tabs() {
  const context = await visitor()
  const pages = [await opened(context, '/plain'), await opened(context, '/plain')]
  await Promise.all(pages.map((page, n) => track(page, 'tabs', 5, n * 5)))
  await Promise.all(pages.map(sent))
  await context.close()
}

async function strict() {
  const context = await visitor()
  const page = await opened(context, '/strict')
  await track(page, 'strict', 2)
  await sent(page)
  await context.close()
}

async function wrong() {
  const context = await visitor()
  const said = []
  const page = await opened(context, '/wrong', said)
  await track(page, 'wrong', 2)
  await page.evaluate(() => tidegate.flush())
  const asked = []
  page.on('request', (request) => asked.push(request.url()))
  await track(page, 'wrong', 2)
  await page.evaluate(() => tidegate.flush())
  seen.wrong = { said: said.filter((text) => text.includes('tidegate: ')), asked }
  await context.close()
}

/** The cookie of the server with this value. */
async function ofServer(context, name, id) {
  for (let looks = 0; looks < WAIT_MAX_MS / 20; looks += 1) {
    const cookie = (await context.cookies()).find((cookie) => cookie.name === name)
    if (cookie && decodeURIComponent(cookie.value).includes(id)) return cookie
    await pause(20)
  }
  throw new Error(`the server has set no ${name} for ${id}`)
}

/** The server's cookie brings the id back that the browser has taken from scripts. */
async function cookies() {
  const context = await visitor()
  let page = await opened(context, '/proxied')
  await page.evaluate(() => tidegate.ready())
  await track(page, 'cookies', 1)
  await sent(page)
  const first = await idOf(page)
  const { httpOnly, sameSite, secure, expires } = await ofServer(context, 'tg_anonymous_id_srvr', first)
  await page.evaluate(() => {
    document.cookie = 'tg_anonymous_id=; Path=/; Max-Age=0'
    localStorage.clear()
  })
  await page.close()
  page = await opened(context, '/proxied')
  await page.evaluate(() => tidegate.ready())
  const second = await idOf(page)
  await page.evaluate(() => tidegate.reset())
  const third = await idOf(page)
  await ofServer(context, 'tg_anonymous_id_srvr', third)
  const days = (expires - Date.now() / 1_000) / 86_400
  seen.cookies = { httpOnly, sameSite, secure, days: Math.round(days), isBack: first === second, isNew: third !== second }
  await context.close()
}

/** The same with Hightouch's SDK, as it comes from its registry. */
async function hightouch() {
  const context = await visitor()
  const ids = []
  for (let visits = 0; visits < 2; visits += 1) {
    const page = await context.newPage()
    page.on('pageerror', (error) => seen.said.push(`/hightouch: ${error}`))
    await page.goto(`${origin}/hightouch`)
    ids.push(await page.evaluate((asked) => globalThis.visit(asked), { url, key }))
    await ofServer(context, 'htjs_anonymous_id_srvr', ids[0])
    await page.evaluate(() => {
      document.cookie = 'htjs_anonymous_id=; Path=/; Max-Age=0'
      localStorage.clear()
    })
    await page.close()
  }
  seen.hightouch = ids[0] === ids[1]
  await context.close()
}

async function main() {
  const server = await serve()
  origin = `http://127.0.0.1:${server.address().port}`
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: CHROMIUM_FLAGS })
  try {
    await early()
    await offline()
    await closed()
    await consented('/hold', 'hold')
    await consented('/drop', 'drop')
    await tabs()
    await strict()
    await wrong()
    await cookies()
    await hightouch()
    console.log(JSON.stringify(seen))
  } finally {
    await browser.close()
    server.closeAllConnections()
    server.close()
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
