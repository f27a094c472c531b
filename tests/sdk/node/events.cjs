// The known events in the shape that server-side JavaScript SDKs take, and the line a client prints when it is done.
const { readFileSync } = require('node:fs')

const { TIDEGATE_RUN: run, TIDEGATE_SDK_EVENTS: file } = process.env
const known = JSON.parse(readFileSync(file, 'utf8'))
const userId = `${run}-user`

const calls = [['identify', { userId, traits: { ...known.identify, run } }]]
for (let n = 0; n < 25; n++) {
  const event = n % 2 === 0 ? 'Order Completed' : 'Product Viewed'
  calls.push(['track', { userId, event, properties: { ...known[event], run, n } }])
}
calls.push(
  ['page', { userId, name: known.page.name, properties: { ...known.page.properties, run } }],
  ['group', { userId, groupId: `${run}-group`, traits: { ...known.group, run } }],
  ['alias', { userId, previousId: `${run}-prev` }],
)

const expected = { tracks: 25, identifies: 1, pages: 1, groups: 1, aliases: 1, order_completed: 13, product_viewed: 12 }

function version(name) {
  return JSON.parse(readFileSync(`${process.env.NODE_PATH}/${name}/package.json`, 'utf8')).version
}

function done(sdk) {
  console.log(JSON.stringify({ sdk, version: version(sdk), expected, run }))
}

module.exports = { calls, done, expected, known, run, version }
