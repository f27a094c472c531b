// Signs in with headless Chromium, and prints what came of it as one line of JSON.
//
//   node drive.mjs code TIDEGATE_URL USER       at the provider `corp`, and what the page may do then
//   node drive.mjs device VERIFICATION_URI USER    types the user's name where the device flow asks for it
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Packages live in NODE_PATH, outside the clone, which only `require` looks at.
const { chromium } = createRequire(import.meta.url)('playwright-core')
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage', '--no-proxy-server']
const WAIT_MAX_MS = 30_000
const [, , flow, address, user] = process.argv

async function fillForm(page) {
  await page.fill('input[name=login]', user)
  await page.click('#go')
}

async function code(page) {
  await page.goto(`${address}/api/v1/login/corp?then=/api/v1/whoami`)
  const provider = new URL(page.url()).origin
  await fillForm(page)
  await page.waitForURL(`${address}/**`)
  const who = JSON.parse(await page.textContent('body'))
  const cookies = (await page.context().cookies(address)).map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }))
  const created = await page.evaluate(async () => {
    const body = JSON.stringify({ name: 'of-own-page', spec: { kind: 'table', entries: {} } })
    return (await fetch('/api/v1/objects/lookup', { method: 'POST', body })).status
  })
  // A page of another port of this machine gets the cookie sent along, and the server refuses all the same.
  await page.goto(`${provider}/.well-known/openid-configuration`)
  const [foreign] = await Promise.all([
    page.waitForResponse((response) => response.url().startsWith(address)),
    page.evaluate(async (url) => {
      const body = JSON.stringify({ name: 'of-another-page', spec: { kind: 'table', entries: {} } })
      await fetch(url, { method: 'POST', body, mode: 'no-cors', credentials: 'include' })
    }, `${address}/api/v1/objects/lookup`),
  ])
  await page.goto(`${address}/api/v1/whoami`)
  const out = await page.evaluate(async () => (await fetch('/api/v1/session', { method: 'DELETE' })).json())
  const after = (await page.goto(`${address}/api/v1/whoami`)).status()
  return { who, cookies, created, foreign: foreign.status(), out, after }
}

async function device(page) {
  await page.goto(address)
  // The code is in the address: the page asks whether it is the right one.
  if (await page.locator('input[name=user_code]').count()) await page.locator('button[type=submit]').first().click()
  await fillForm(page).catch(() => {})
  await page.waitForLoadState('networkidle')
  const confirm = page.locator('button[type=submit]')
  if (await confirm.count()) await confirm.first().click()
  await page.waitForLoadState('networkidle')
  return { said: (await page.textContent('body')).trim().slice(0, 500) }
}

async function main() {
  const profile = mkdtempSync(join(tmpdir(), 'tidegate-oidc-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: CHROMIUM_FLAGS,
  })
  context.setDefaultTimeout(WAIT_MAX_MS)
  try {
    const page = await context.newPage()
    console.log(JSON.stringify(await (flow === 'code' ? code(page) : device(page))))
  } finally {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
