// Visits the pages of the web console with headless Chromium, and prints what it saw as one line of JSON.
//
//   node visit.mjs '{"admin": URL, "events": URL, "key": WRITE_KEY, "name": USER, "password": PASSWORD, "component": FILE, "pages": [PATH, …]}'
import { createRequire } from 'node:module'

// Packages live in NODE_PATH, outside the clone, which only `require` looks at.
const require = createRequire(import.meta.url)
const { chromium } = require('playwright-core')
const AXE = require('axe-core').source
/** Rules of WCAG 2.2 AA, and what else axe advises. */
const AXE_TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const AXE_MAX = 20
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage', '--no-proxy-server']
const WAIT_MAX_MS = 30_000
const WIDTHS = [360, 1440]
const HOSTILE = '<img src=x onerror=alert(1)>'
/** Of normal text against what is behind it, by WCAG 2.2 AA. */
const CONTRAST_MIN = 4.5
/** Of the cell with a long text, of a screen of 360. */
const DETAIL_WIDTH_MIN = 250

const { admin, events, key, name, password, component, pages } = JSON.parse(process.argv[2])
const seen = { said: [], too_wide: [], too_pale: [], hidden: [], axe: [], visits: 0 }

async function opened(browser, options) {
  const context = await browser.newContext({ viewport: { width: options.width, height: 800 }, ...options })
  context.setDefaultTimeout(WAIT_MAX_MS)
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))
  })
  const page = await context.newPage()
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && seen.said.push(`${page.url()}: ${message.text()}`))
  page.on('pageerror', (error) => seen.said.push(`${page.url()}: ${error}`))
  page.on('dialog', (dialog) => {
    seen.said.push(`${page.url()}: a dialog says ${dialog.message()}`)
    dialog.dismiss()
  })
  await page.goto(`${admin}/sign-in`)
  await page.fill('input[name=name]', name)
  await page.fill('input[name=password]', password)
  await page.click('form.sign-in button')
  await page.waitForURL(`${admin}/`)
  return page
}

/** Texts with too little contrast against the nearest colour behind them. */
function pale(min) {
  const rgb = (text) => text.match(/[\d.]+/g).map(Number)
  const light = ([r, g, b]) => {
    const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4)
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
  }
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor)
      if (colour.length < 4 || colour[3] > 0) return colour
    }
    return [255, 255, 255]
  }
  const found = []
  for (const element of document.body.querySelectorAll('*')) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())
    if (!hasText || element.closest('svg, option') || !element.checkVisibility()) continue
    const [one, two] = [light(rgb(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a)
    const contrast = (one + 0.05) / (two + 0.05)
    if (contrast < min) found.push(`${element.tagName}.${element.className} ${contrast.toFixed(2)}: ${element.textContent.slice(0, 40)}`)
  }
  return found
}

/** Long texts of tables that a narrow screen does not show whole, or squeezes. */
function hidden(min) {
  const found = []
  for (const cell of document.querySelectorAll('.stacked td.detail')) {
    if (!cell.checkVisibility()) continue
    const { left, right, width } = cell.getBoundingClientRect()
    if (left < 0 || right > innerWidth || width < min || cell.scrollWidth > cell.clientWidth) found.push(`${left} to ${right}: ${cell.textContent.slice(0, 40)}`)
  }
  return found
}

/** What axe finds serious or critical in a page, all of its parts open. What the driver evaluates is no matter of the page's policy. */
async function barriers(page) {
  await page.evaluate(() => document.querySelectorAll('#main details').forEach((part) => { part.open = true }))
  await page.evaluate(AXE)
  return page.evaluate(async (tags) => {
    const { violations } = await axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] })
    const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    return grave.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id} ${target.flat().join(' ')}`))
  }, AXE_TAGS)
}

async function visit(browser) {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of WIDTHS) {
      const page = await opened(browser, { width, colorScheme })
      for (const path of pages) {
        await page.goto(`${admin}${path}`)
        await page.waitForSelector('#main h1')
        const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
        if (wide > inner) seen.too_wide.push(`${path} at ${width}: ${wide}`)
        if (width === WIDTHS[0]) for (const text of await page.evaluate(hidden, DETAIL_WIDTH_MIN)) seen.hidden.push(`${path} at ${width}: ${text}`)
        for (const text of await page.evaluate(pale, CONTRAST_MIN)) seen.too_pale.push(`${path} ${colorScheme}: ${text}`)
        for (const text of await barriers(page)) if (seen.axe.length < AXE_MAX) seen.axe.push(`${path} at ${width} ${colorScheme}: ${text}`)
        seen.visits += 1
      }
      await page.context().close()
    }
  }
}

async function send(event) {
  const authorization = `Basic ${Buffer.from(`${key}:`).toString('base64')}`
  const headers = { authorization, 'content-type': 'application/json' }
  const answer = await fetch(`${events}/v1/track`, { method: 'POST', headers, body: JSON.stringify(event) })
  if (answer.status !== 200) throw new Error(`an event was answered ${answer.status}`)
}

/** What passes is written as text; a page that is paused counts on. */
async function live(browser) {
  const page = await opened(browser, { width: 1440 })
  await page.goto(`${admin}/live?source=web`)
  await page.waitForFunction(() => document.getElementById('tap-state').textContent.startsWith('Listening'))
  const row = page.locator('#tap-rows > li').first()
  // Whoever listens is known to the server a little later than to the page.
  for (let n = 0; n < 100 && (await page.locator('#tap-rows > li').count()) === 0; n += 1) {
    await send({ userId: '\u202eann', event: HOSTILE, messageId: `live-${n}` })
    await page.waitForTimeout(100)
  }
  seen.live = await row.locator('bdi').first().textContent()
  await row.locator('summary').click()
  await row.locator('pre').first().waitFor()
  await page.click('#tap-pause')
  await send({ userId: 'ann', event: 'While paused', messageId: 'paused' })
  await page.waitForFunction(() => /Paused: [1-9]/.test(document.getElementById('tap-state').textContent))
  const before = await page.locator('#tap-rows').textContent()
  await page.click('#tap-pause')
  await page.waitForFunction(() => document.getElementById('tap-rows').textContent.includes('While paused'))
  seen.paused = !before.includes('While paused')
  await page.goto(`${admin}/`)
  await page.keyboard.press('Control+k')
  await page.fill('dialog input', 'sources')
  await page.keyboard.press('Enter')
  await page.waitForURL(`${admin}/sources`)
  seen.palette = new URL(page.url()).pathname
  await page.context().close()
}

/** The overview follows what happens without being loaded again. */
async function updated(browser) {
  const page = await opened(browser, { width: 1440 })
  await page.goto(`${admin}/`)
  const count = () => page.locator('.numbers dd.quiet').first().textContent()
  const before = await count()
  await send({ userId: 'ann', event: 'Counted', messageId: 'counted' })
  await page.waitForFunction((text) => document.querySelector('.numbers dd.quiet').textContent !== text, before)
  seen.updated = true
  await page.context().close()
}

/** The editor says where the caret is; a component that is chosen is sent, and its page shown anew. */
async function functions(browser) {
  const page = await opened(browser, { width: 1440 })
  await page.goto(`${admin}/function-editor?name=mine`)
  await page.fill('#script', 'let a\n  b')
  await page.evaluate(() => document.getElementById('script').setSelectionRange(8, 8))
  await page.locator('#script').dispatchEvent('click')
  seen.editor = await page.locator('#caret').textContent()
  await page.goto(`${admin}/functions/crm`)
  const before = await page.locator('table th code').count()
  await page.setInputFiles('#upload-file', component)
  await page.click('#upload-send')
  await page.waitForFunction((count) => document.querySelectorAll('table th code').length > count, before)
  seen.uploaded = new URL(page.url()).pathname
  await page.context().close()
}

/** Without JavaScript everything but what moves can be read. */
async function withoutScript(browser) {
  const page = await opened(browser, { width: 1440, javaScriptEnabled: false })
  await page.goto(`${admin}/quarantine`)
  const [shown, hidden] = [page.locator('h2:has-text("Entries")'), page.locator('#theme')]
  seen.without_script = (await shown.isVisible()) && !(await hidden.isVisible())
  await page.goto(`${admin}/new/destination?kind=sqlite`)
  await page.fill('input[name=name]', 'plain')
  await page.fill('input[name="set.path"]', 'DATA/plain.db')
  await page.click('button[value=save]')
  await page.waitForURL(`${admin}/destinations/plain`)
  seen.made_without_script = new URL(page.url()).pathname
  await page.context().close()
}

/** A form is filled and sent with the keyboard alone. */
async function byKeys(browser) {
  const page = await opened(browser, { width: 1440 })
  await page.goto(`${admin}/new/destination?kind=sqlite`)
  await page.focus('input[name=name]')
  await page.keyboard.press('Control+a')
  await page.keyboard.type('keys')
  for (let n = 0; n < 20; n += 1) {
    await page.keyboard.press('Tab')
    const name = await page.evaluate(() => document.activeElement.getAttribute('name'))
    if (name === 'set.path') await page.keyboard.type('DATA/keys.db')
    if (name === 'do') break
  }
  await page.keyboard.press('Enter')
  await page.waitForURL(`${admin}/destinations/keys`)
  seen.made_by_keys = new URL(page.url()).pathname
  await page.context().close()
}

/** A form is filled in and sent by the keyboard alone, and what comes is text. */
async function sql(browser) {
  const page = await opened(browser, { width: 1440, javaScriptEnabled: false })
  await page.goto(`${admin}/sql?destination=warehouse`)
  await page.getByLabel('One SELECT').focus()
  await page.keyboard.type("SELECT '<b>' AS day, 1 AS n UNION ALL SELECT 'b', 2")
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.locator('figure.plot svg').waitFor()
  seen.sql = await page.locator('td bdi').first().textContent()
  await page.context().close()
}

async function keys(browser) {
  const page = await opened(browser, { width: 1440 })
  await page.waitForFunction(() => !document.getElementById('palette-open').hidden)
  await page.keyboard.press('g')
  await page.keyboard.press('u')
  await page.waitForURL(`${admin}/people`)
  seen.keys = new URL(page.url()).pathname
  await page.context().close()
}

async function main() {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: CHROMIUM_FLAGS })
  try {
    await visit(browser)
    await live(browser)
    await updated(browser)
    await functions(browser)
    await withoutScript(browser)
    await byKeys(browser)
    await sql(browser)
    await keys(browser)
    console.log(JSON.stringify(seen))
  } finally {
    await browser.close()
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
