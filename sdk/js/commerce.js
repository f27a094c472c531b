// Money and line items, as the e-commerce specifications of Segment and RudderStack have them.

import { idText } from "./event.js";

const NUMERIC = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;

/** A finite number, also one written as text such as " 19.99 "; undefined for anything else, "19,99" and "$19.99" included. */
export function number(value) {
  const found = typeof value === "string" && NUMERIC.test(value.trim()) ? Number(value.trim()) : value;
  return typeof found === "number" && Number.isFinite(found) ? found : undefined;
}

/** Three letters in upper case; undefined for anything else. */
export function currency(value) {
  return typeof value === "string" && /^[A-Za-z]{3}$/.test(value.trim()) ? value.trim().toUpperCase() : undefined;
}

/**
 * The first of the properties `names` that is an amount, with the `currency` beside it; undefined when none is. No
 * currency is ever assumed.
 */
export function money(properties, ...names) {
  for (const name of names) {
    const amount = number(properties[name]);
    if (amount !== undefined) return { amount, currency: currency(properties.currency) };
  }
  return undefined;
}

/**
 * What was earned: `revenue`, else `value`, else `subtotal`, else the sum of price x quantity of the line items. `total`
 * comes last, because it holds tax and shipping. Undefined when nothing of these is an amount.
 */
export function revenue(properties) {
  return money(properties, "revenue", "value", "subtotal") ?? itemsTotal(properties) ?? money(properties, "total");
}

/** The sum of price x quantity of the line items that have a price; undefined when none has. */
export function itemsTotal(properties) {
  const priced = items(properties).items.filter((item) => item.price !== undefined);
  if (priced.length === 0) return undefined;
  const sum = priced.reduce((sum, item) => sum + item.price * item.quantity, 0);
  // Without the dust of binary fractions: 3 x 19.99 is 59.97.
  const amount = Math.abs(sum) < 1e9 ? Math.round(sum * 1e6) / 1e6 : sum;
  return Number.isFinite(amount) ? { amount, currency: currency(properties.currency) } : undefined;
}

/** The line items of `products`, else the one product in the properties; and how many entries were no objects. */
export function items(properties) {
  if (Array.isArray(properties.products)) {
    const found = properties.products.filter((product) => product !== null && typeof product === "object" && !Array.isArray(product));
    return { items: found.map(item), leftOut: properties.products.length - found.length };
  }
  // Any of these in the properties themselves makes them a product.
  const isProduct = ["product_id", "productId", "sku"].some((mark) => idText(properties[mark]) !== undefined);
  return { items: isProduct ? [item(properties)] : [], leftOut: 0 };
}

/** One product as a line item. What is missing or odd is undefined, and `quantity` is 1 then; `source` is the product as it came. */
export function item(product) {
  const text = (...names) => names.map((name) => idText(product[name])).find((found) => found !== undefined);
  return {
    productId: text("product_id", "productId", "id"), sku: text("sku"), name: text("name"), brand: text("brand"),
    category: text("category"), variant: text("variant"), price: number(product.price), quantity: number(product.quantity) ?? 1,
    coupon: text("coupon"), position: number(product.position), url: text("url"), imageUrl: text("image_url", "imageUrl"),
    currency: currency(product.currency), source: product,
  };
}
