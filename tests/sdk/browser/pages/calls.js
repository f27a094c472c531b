// The known events on the interface that every browser SDK shares.
export function calls(analytics, { run, known }) {
  const user = `${run}-user`
  const sent = [analytics.identify(user, { ...known.identify, run })]
  for (let n = 0; n < 25; n++) {
    const event = n % 2 === 0 ? 'Order Completed' : 'Product Viewed'
    sent.push(analytics.track(event, { ...known[event], run, n }))
  }
  sent.push(
    analytics.page(known.page.name, { ...known.page.properties, run }),
    analytics.group(`${run}-group`, { ...known.group, run }),
    analytics.alias(user, `${run}-prev`),
  )
  return Promise.all(sent)
}
