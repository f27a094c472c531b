//! Money and line items, as the e-commerce specifications of Segment and RudderStack have them.

use serde_json::{Map, Number, Value};

use crate::event::id;

/// A finite number, also one written as text such as `" 19.99 "`; `None` for anything else, `"19,99"` and `"$19.99"`
/// included. Its digits stay as they are.
pub fn number(value: Option<&Value>) -> Option<Number> {
    let number = match value? {
        Value::Number(number) => number.clone(),
        Value::String(text) => json_number(text.trim())?.parse().ok()?,
        _ => return None,
    };
    number.as_f64().filter(|float| float.is_finite()).map(|_| number)
}

/// `+5`, `.5`, `5.` and `007` as JSON spells them.
fn json_number(text: &str) -> Option<String> {
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let (digits, exponent) = unsigned.find(['e', 'E']).map_or((unsigned, ""), |at| unsigned.split_at(at));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let only_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !only_digits(whole) || !only_digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}{exponent}"))
}

/// Three letters in upper case; `None` for anything else.
pub fn currency(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?.trim();
    (text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic())).then(|| text.to_ascii_uppercase())
}

/// An amount, and its currency if the event names one. No currency is ever assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    pub amount: Number,
    pub currency: Option<String>,
}

/// The first of the properties `names` that is an amount, with the `currency` beside it; `None` when none is.
pub fn money(properties: &Map<String, Value>, names: &[&str]) -> Option<Money> {
    let amount = names.iter().find_map(|name| number(properties.get(*name)))?;
    Some(Money { amount, currency: currency(properties.get("currency")) })
}

/// What was earned: `revenue`, else `value`, else `subtotal`, else the sum of price x quantity of the line items.
/// `total` comes last, because it holds tax and shipping. `None` when nothing of these is an amount.
pub fn revenue(properties: &Map<String, Value>) -> Option<Money> {
    money(properties, &["revenue", "value", "subtotal"])
        .or_else(|| items_total(properties))
        .or_else(|| money(properties, &["total"]))
}

/// The sum of price x quantity of the line items that have a price; `None` when none has.
pub fn items_total(properties: &Map<String, Value>) -> Option<Money> {
    let items = items(properties).items;
    let priced: Vec<f64> =
        items.iter().filter_map(|item| Some(item.price.as_ref()?.as_f64()? * item.quantity.as_f64()?)).collect();
    let sum: f64 = priced.iter().sum();
    // Without the dust of binary fractions: 3 x 19.99 is 59.97.
    let rounded = if sum.abs() < 1e9 { (sum * 1e6).round() / 1e6 } else { sum };
    let amount = if rounded.is_finite() { rounded.to_string().parse().ok()? } else { return None };
    (!priced.is_empty()).then(|| Money { amount, currency: currency(properties.get("currency")) })
}

/// A line item. What is missing or odd is `None`; `quantity` is 1 then. `source` is the product as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Item<'a> {
    pub product_id: Option<String>,
    pub sku: Option<String>,
    pub name: Option<String>,
    pub brand: Option<String>,
    pub category: Option<String>,
    pub variant: Option<String>,
    pub price: Option<Number>,
    pub quantity: Number,
    pub coupon: Option<String>,
    pub position: Option<Number>,
    pub url: Option<String>,
    pub image_url: Option<String>,
    pub currency: Option<String>,
    pub source: &'a Map<String, Value>,
}

/// Line items, and how many entries of `products` were no objects and are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Items<'a> {
    pub items: Vec<Item<'a>>,
    pub left_out: usize,
}

/// The line items of `products`, else the one product in the properties themselves.
pub fn items(properties: &Map<String, Value>) -> Items<'_> {
    if let Some(products) = properties.get("products").and_then(Value::as_array) {
        let items: Vec<Item<'_>> = products.iter().filter_map(Value::as_object).map(item).collect();
        return Items { left_out: products.len() - items.len(), items };
    }
    // Any of these in the properties themselves makes them a product.
    let is_product = ["product_id", "productId", "sku"].iter().any(|mark| id(properties.get(*mark)).is_some());
    Items { items: if is_product { vec![item(properties)] } else { Vec::new() }, left_out: 0 }
}

/// One product as a line item.
pub fn item(product: &Map<String, Value>) -> Item<'_> {
    let text = |name: &str| id(product.get(name));
    Item {
        product_id: text("product_id").or_else(|| text("productId")).or_else(|| text("id")),
        sku: text("sku"),
        name: text("name"),
        brand: text("brand"),
        category: text("category"),
        variant: text("variant"),
        price: number(product.get("price")),
        quantity: number(product.get("quantity")).unwrap_or_else(|| Number::from(1)),
        coupon: text("coupon"),
        position: number(product.get("position")),
        url: text("url"),
        image_url: text("image_url").or_else(|| text("imageUrl")),
        currency: currency(product.get("currency")),
        source: product,
    }
}
