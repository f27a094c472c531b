// The bundled build carries its plugins; the default one fetches them from a CDN.
import { RudderAnalytics } from '@rudderstack/analytics-js/bundled'
import { calls } from './calls.js'

globalThis.send = async (config) => {
  const { url, writeKey, batching } = config
  const analytics = new RudderAnalytics()
  await new Promise((resolve) => {
    analytics.load(writeKey, url, {
      configUrl: url,
      loadIntegration: false,
      logLevel: 'ERROR',
      onLoaded: resolve,
      ...(batching && { useBeacon: true }),
    })
  })
  await calls(analytics, config)
}
