import { AnalyticsBrowser } from '@segment/analytics-next'
import { calls } from './calls.js'

globalThis.send = async (config) => {
  const { url, writeKey, batching } = config
  const { host, protocol } = new URL(url)
  const [analytics] = await AnalyticsBrowser.load(
    { writeKey, cdnURL: url },
    {
      integrations: {
        'Segment.io': {
          apiHost: `${host}/v1`,
          protocol: protocol.slice(0, -1),
          ...(batching && { deliveryStrategy: { strategy: 'batching', config: { size: 10, timeout: 5000 } } }),
        },
      },
    },
  )
  analytics.on('error', (error) => config.fail(String(error?.reason ?? error)))
  await calls(analytics, config)
}
