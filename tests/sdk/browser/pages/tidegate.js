// The one SDK that comes from the server and from no registry.
import { calls } from './calls.js'

globalThis.send = async (config) => {
  const { url, writeKey } = config
  const script = document.createElement('script')
  script.src = `${url}/sdk/v1/tidegate.js`
  await new Promise((resolve, reject) => {
    script.onload = resolve
    script.onerror = () => reject(new Error(`${script.src} cannot be loaded`))
    document.head.append(script)
  })
  const { tidegate } = window
  tidegate.load(writeKey, { flushMs: 5_000 })
  await calls(tidegate, config)
  await tidegate.flush()
}
