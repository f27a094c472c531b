import { HtEventsBrowser } from '@ht-sdks/events-sdk-js-browser'
import { calls } from './calls.js'

globalThis.send = async (config) => {
  const { url, writeKey, batching } = config
  const { host, protocol } = new URL(url)
  const [analytics] = await HtEventsBrowser.load(
    { writeKey },
    { apiHost: host, protocol: protocol.slice(0, -1), batching },
  )
  analytics.on('error', (error) => config.fail(String(error?.reason ?? error)))
  await calls(analytics, config)
}
