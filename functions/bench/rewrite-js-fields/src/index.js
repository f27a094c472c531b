import { path } from "tidegate";

const orderId = path("/properties/order_id");
const renamed = path("/properties/orderId");
const processed = path("/properties/processed");

/** The edits of `rewrite-js`, field by field on events that the host has parsed. */
export function transform(event) {
  event.move(orderId, renamed);
  event.set(processed, true);
}
