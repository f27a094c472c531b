const { Analytics } = require('@segment/analytics-node')
const { calls, done } = require('./events.cjs')

const { TIDEGATE_URL: host, TIDEGATE_WRITE_KEY: writeKey } = process.env

async function main() {
  const analytics = new Analytics({ host, writeKey })
  const failures = []
  analytics.on('error', (error) => failures.push(error))
  for (const [method, message] of calls) analytics[method](message)
  await analytics.closeAndFlush({ timeout: 30_000 })
  if (failures.length > 0) throw new Error(`the SDK reports ${JSON.stringify(failures)}`)
  done('@segment/analytics-node')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
