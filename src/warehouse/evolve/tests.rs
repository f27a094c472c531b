use proptest::prelude::*;

use super::*;

const FIT: Fit = Fit {
    decimal_digits_max: 15,
    decimal_exponent_max: 307,
    decimal_fraction_max: i64::MAX,
    years: (1, 9999),
    text_nul: true,
};

fn seen(json: &str) -> (Option<Type>, String) {
    let value = serde_json::from_str::<Value>(json).unwrap();
    let scalar = Scalar::of(&value, &FIT);
    (scalar.as_ref().map(Scalar::kind), scalar.map(|scalar| scalar.text().into_owned()).unwrap_or_default())
}

#[test]
fn a_value_is_what_it_means_and_has_one_text() {
    use Type::{Boolean, Decimal, Integer, Json, Text, Timestamp};
    for (json, kind, text) in [
        ("true", Boolean, "true"),
        ("1", Integer, "1"),
        ("1.0", Integer, "1"),
        ("1e2", Integer, "100"),
        ("100e-2", Integer, "1"),
        ("-0", Integer, "0"),
        ("-0.0", Integer, "0"),
        ("0e99999999999999999999", Integer, "0"),
        ("9007199254740993", Integer, "9007199254740993"),
        ("9223372036854775807", Integer, "9223372036854775807"),
        ("-9223372036854775808", Integer, "-9223372036854775808"),
        ("9223372036854775808", Text, "9223372036854775808"),
        ("9223372036854775808.0", Text, "9223372036854775808"),
        ("1e20", Decimal, "100000000000000000000"),
        ("0.1", Decimal, "0.1"),
        ("-1.50", Decimal, "-1.5"),
        ("1.5E-3", Decimal, "0.0015"),
        ("0.1000000000000000055", Text, "0.1000000000000000055"),
        ("123456789012345.6", Text, "123456789012345.6"),
        ("1e300", Decimal, "1e300"),
        ("1.25e-300", Decimal, "1.25e-300"),
        ("1e400", Text, "1e400"),
        ("1e-400", Text, "1e-400"),
        ("1e99999999999999999999", Text, "1e+99999999999999999999"),
        ("\"007\"", Text, "007"),
        ("\"\"", Text, ""),
        ("\"2024-02-29T23:59:59.999Z\"", Timestamp, "2024-02-29T23:59:59.999Z"),
        ("\"2023-02-29T23:59:59.999Z\"", Text, "2023-02-29T23:59:59.999Z"),
        ("\"2024-01-01T00:00:00Z\"", Text, "2024-01-01T00:00:00Z"),
        ("\"2024-01-01T00:00:60.000Z\"", Text, "2024-01-01T00:00:60.000Z"),
        ("\"2024-01-01T00:00:00.000000Z\"", Text, "2024-01-01T00:00:00.000000Z"),
        ("\"0000-01-01T00:00:00.000Z\"", Text, "0000-01-01T00:00:00.000Z"),
        ("[1, 2.50, {}]", Json, "[1,2.50,{}]"),
        ("{}", Json, "{}"),
    ] {
        assert_eq!(seen(json), (Some(kind), text.to_owned()), "{json}");
    }
    assert_eq!(seen("null").0, None);
}

#[test]
fn the_houses_own_instants_have_six_digits() {
    let kind = |text: &str| Scalar::of_instant(&Value::from(text), &FIT).map(|scalar| scalar.kind());
    assert_eq!(kind("2024-01-01T00:00:00.123456Z"), Some(Type::Timestamp));
    assert_eq!(kind("2024-01-01T00:00:00.1234Z"), Some(Type::Text));
    assert_eq!(kind("2024-01-01T00:00:00é123Z"), Some(Type::Text));
}

fn any_type() -> impl Strategy<Value = Type> {
    proptest::sample::select(&Type::ALL[..])
}

proptest! {
    #[test]
    fn the_join_is_commutative_associative_and_idempotent(a in any_type(), b in any_type(), c in any_type()) {
        prop_assert_eq!(a.join(b), b.join(a));
        prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
        prop_assert_eq!(a.join(a), a);
        prop_assert_eq!(a.join(Type::Text), Type::Text);
        prop_assert!(a.join(b) == Type::Text || a == b || a.join(b) == Type::Decimal);
    }

    /// A decimal that became binary and was widened to text reads as if it had been text from the start.
    #[test]
    fn a_decimal_survives_being_binary(digits in 1_i64..1_000_000_000_000_000, exponent in -300_i64..290, minus: bool) {
        let spelled = format!("{}{digits}e{exponent}", if minus { "-" } else { "" });
        let value = serde_json::from_str::<Value>(&spelled).unwrap();
        if let Some(scalar @ Scalar::Decimal(_)) = Scalar::of(&value, &FIT) {
            prop_assert_eq!(real_text(spelled.parse().unwrap()), scalar.text().into_owned());
        }
    }

    /// The text names the same number, and is its own text.
    #[test]
    fn the_text_of_a_number_is_canonical(whole in "0|[1-9][0-9]{0,60}", fraction in "(\\.[0-9]{1,60})?", exponent in "([eE][+-]?[0-9]{1,4})?") {
        let spelled = whole + &fraction + &exponent;
        let text = number_text(&spelled).into_owned();
        prop_assert_eq!(number_text(&text).into_owned(), text.clone());
        let (a, b) = (spelled.parse::<f64>().unwrap(), text.parse::<f64>().unwrap());
        prop_assert_eq!(a.to_bits(), b.to_bits());
    }
}
