//! Made-up traffic of a small shop: the same number gives the same event.

use serde_json::{Value, json};
use tidegate_event::time;

const PRODUCTS: [(&str, &str, u64); 6] = [
    ("Harbour mug", "kitchen", 1450),
    ("Tide table 2027", "books", 1990),
    ("Oilskin jacket", "clothing", 12900),
    ("Brass compass", "instruments", 8450),
    ("Rope, 10 m", "chandlery", 1275),
    ("Storm lantern", "chandlery", 3999),
];
const CITIES: [&str; 5] = ["Lisboa", "Kraków", "Göteborg", "Nantes", "Cork"];
const REFERRERS: [&str; 4] =
    ["https://www.google.com/search?q=oilskin", "https://www.reddit.com/r/sailing", "", "https://news.example/boats"];

/// A number that looks random and is not.
pub(super) fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Event number `n` of a run, as an SDK would send it at `now_us`.
pub(super) fn event(n: u64, run: &str, now_us: i64) -> Value {
    let dice = mix(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
    let pick = |max: u64, salt: u64| mix(dice.wrapping_add(salt)) % max;
    let user = pick(500, 1);
    let (product, category, cents) = PRODUCTS[pick(6, 2) as usize];
    let at = time::format_millis(now_us - i64::try_from(pick(5_000_000, 3)).unwrap_or(0));
    let path = format!("/{category}/{}", product.to_lowercase().replace([' ', ','], "-"));
    let context = json!({
        "library": {"name": "tidegate-send", "version": env!("CARGO_PKG_VERSION")},
        "locale": "en-IE", "timezone": "Europe/Dublin",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
        "page": {
            "path": path, "title": product, "referrer": REFERRERS[pick(4, 4) as usize],
            "url": format!("https://shop.example{path}?utm_source=newsletter&utm_medium=email&utm_campaign=spring"),
            "search": "?utm_source=newsletter&utm_medium=email&utm_campaign=spring",
        },
    });
    let mut event = json!({
        "messageId": format!("{run}-{n}"), "anonymousId": format!("anon-{user}"), "timestamp": at,
        "context": context, "integrations": {},
    });
    let known = user.is_multiple_of(3);
    if known {
        event["userId"] = json!(format!("user-{user}"));
    }
    let quantity = 1 + pick(4, 5);
    let price = cents_text(cents);
    let total = cents_text(cents * quantity);
    let more = match pick(100, 6) {
        0..10 => json!({"type": "identify", "userId": format!("user-{user}"), "traits": {
            "email": format!("user{user}@example.org"), "plan": if user.is_multiple_of(2) { "crew" } else { "skipper" },
            "age": 20 + user % 50, "newsletter": user.is_multiple_of(5), "address": {"city": CITIES[pick(5, 7) as usize], "postcode": format!("{:05}", user * 37 % 100_000)},
        }}),
        10..35 => json!({"type": "page", "name": product, "properties": {"path": path, "category": category}}),
        35..38 => {
            json!({"type": "group", "groupId": format!("crew-{}", user % 20), "traits": {"name": format!("Crew {}", user % 20), "boats": user % 4}})
        }
        38..75 => json!({"type": "track", "event": "Product Viewed", "properties": {
            "product_id": format!("p-{}", pick(6, 2)), "name": product, "category": category, "price": number(&price), "position": pick(40, 8),
        }}),
        75..90 => json!({"type": "track", "event": "Product Added", "properties": {
            "product_id": format!("p-{}", pick(6, 2)), "name": product, "quantity": quantity, "price": number(&price), "cart_id": format!("cart-{user}"),
        }}),
        _ => json!({"type": "track", "event": "Order Completed", "properties": {
            "order_id": format!("{run}-o-{n}"), "revenue": number(&total), "currency": "EUR", "coupon": if user.is_multiple_of(7) { json!("SPRING") } else { Value::Null },
            "email": format!("user{user}@example.org"),
            "products": [{"product_id": format!("p-{}", pick(6, 2)), "name": product, "price": number(&price), "quantity": quantity}],
        }}),
    };
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}

fn cents_text(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A number with exactly these digits.
fn number(digits: &str) -> Value {
    digits.parse::<serde_json::Number>().map_or(Value::Null, Value::Number)
}
