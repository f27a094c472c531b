const { Analytics } = require('@segment/analytics-node')
const { calls, done } = require('./events.cjs')

const { TIDEGATE_URL: host, TIDEGATE_WRITE_KEY: writeKey } = process.env

async function main() {
  const analytics = new Analytics({ host, writeKey })
  const failures = []
  analytics.on('error', (error) => failures.push(error))
  // A close that runs into its time limit is no error for the SDK, so the callbacks are counted.
  let sent = 0
  for (const [method, message] of calls) {
    analytics[method](message, (error) => (error ? failures.push(String(error)) : (sent += 1)))
  }
  await analytics.closeAndFlush({ timeout: 30_000 })
  if (failures.length > 0 || sent < calls.length) {
    throw new Error(`the SDK reports ${sent} of ${calls.length} events as sent, errors: ${JSON.stringify(failures)}`)
  }
  done('@segment/analytics-node')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
