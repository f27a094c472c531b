/** The same edits as `rewrite`: a property renamed, one added. */
export function transform(event) {
  if (event.properties) {
    if ("order_id" in event.properties) {
      event.properties.orderId = event.properties.order_id;
      delete event.properties.order_id;
    }
    event.properties.processed = true;
  }
  return event;
}
