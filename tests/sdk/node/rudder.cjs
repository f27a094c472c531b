const Analytics = require('@rudderstack/rudder-sdk-node')
const { calls, done } = require('./events.cjs')

const { TIDEGATE_URL: dataPlaneUrl, TIDEGATE_WRITE_KEY: writeKey } = process.env

async function main() {
  const analytics = new Analytics(writeKey, { dataPlaneUrl, logLevel: 'error' })
  // One flush sends at most one batch, so the end is known from the callback of every event.
  const sent = calls.map(
    ([method, message]) =>
      new Promise((resolve, reject) => analytics[method](message, (error) => (error ? reject(error) : resolve()))),
  )
  await analytics.flush()
  await Promise.all(sent)
  done('@rudderstack/rudder-sdk-node')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
