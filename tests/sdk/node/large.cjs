// Sends many events of 20 to 31 KB through the Node SDK, as a client that has a lot to say.
const { Analytics } = require('@segment/analytics-node')
const { version } = require('./events.cjs')

const { TIDEGATE_URL: host, TIDEGATE_WRITE_KEY: writeKey, TIDEGATE_RUN: run, TIDEGATE_COUNT } = process.env

// Lines of an order, as many as make `size` bytes: alike enough to be compressed, no two the same.
function items(n, size) {
  const lines = []
  while (size > 0) {
    const article = (n * 7919 + lines.length * 104729) % 99991
    const line = `line ${lines.length} of order ${n}: article ${article}, two pieces, in stock`
    lines.push(line)
    size -= line.length + 3
  }
  return lines
}

async function main() {
  const analytics = new Analytics({ host, writeKey })
  const failures = []
  analytics.on('error', (error) => failures.push(error))
  const calls = []
  for (let n = 0; n < Number(TIDEGATE_COUNT); n++) {
    const size = 20_000 + ((n * 7919) % 11_000)
    calls.push(
      new Promise((resolve) => {
        const event = { userId: `${run}-user`, event: 'Large', properties: { run, n, items: items(n, size) } }
        analytics.track(event, (error) => {
          if (error) failures.push(String(error))
          resolve()
        })
      }),
    )
    // The SDK sends at most as many batches at once as an application makes it.
    if (calls.length % 60 === 0) await Promise.all(calls)
  }
  await analytics.closeAndFlush({ timeout: 60_000 })
  await Promise.all(calls)
  const sdk = '@segment/analytics-node'
  console.log(JSON.stringify({ sdk, version: version(sdk), failures: failures.slice(0, 3), failed: failures.length }))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
