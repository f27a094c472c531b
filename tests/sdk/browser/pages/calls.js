// The known events on the interface that every browser SDK shares.
export async function calls(analytics, { run, known }) {
  const user = `${run}-user`
  // The first page comes before anybody has logged in. SDKs fill events in a little later, so the login waits for that; one
  // that batches answers when the batch is sent, which is too long.
  const page = analytics.page(known.page.name, { ...known.page.properties, run })
  await Promise.race([page, new Promise((later) => setTimeout(later, 200))])
  const sent = [page, analytics.identify(user, { ...known.identify, run })]
  for (let n = 0; n < 25; n++) {
    const event = n % 2 === 0 ? 'Order Completed' : 'Product Viewed'
    sent.push(analytics.track(event, { ...known[event], run, n }))
  }
  sent.push(
    analytics.group(`${run}-group`, { ...known.group, run }),
    analytics.alias(user, `${run}-prev`),
  )
  return Promise.all(sent)
}
