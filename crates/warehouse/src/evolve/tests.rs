use proptest::prelude::*;
use tidegate_event::time;

use super::*;

const FIT: Fit = Fit {
    decimal_digits_max: 15,
    decimal_exponent_max: 307,
    decimal_fraction_max: i64::MAX,
    years: (1, 9999),
    text_nul: true,
};

fn seen(json: &str) -> (Option<Type>, String) {
    let value = json.parse::<Value>().unwrap();
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
        ("1e99999999999999999999", Text, "1e99999999999999999999"),
        ("\"007\"", Text, "007"),
        ("\"\"", Text, ""),
        ("\"2024-02-29T23:59:59.999Z\"", Timestamp, "2024-02-29T23:59:59.999Z"),
        ("\"2023-02-29T23:59:59.999Z\"", Text, "2023-02-29T23:59:59.999Z"),
        ("\"2024-01-01T00:00:00Z\"", Timestamp, "2024-01-01T00:00:00.000Z"),
        ("\"2024-01-01T00:00:60.000Z\"", Text, "2024-01-01T00:00:60.000Z"),
        ("\"2016-12-31T23:59:60Z\"", Timestamp, "2016-12-31T23:59:59.000Z"),
        ("\"1990-12-31T15:59:60.5-08:00\"", Timestamp, "1990-12-31T23:59:59.500Z"),
        ("\"2016-12-31T23:58:60Z\"", Text, "2016-12-31T23:58:60Z"),
        ("\"2016-12-31T23:59:61Z\"", Text, "2016-12-31T23:59:61Z"),
        ("\"2024-01-01T00:00:00.000000Z\"", Timestamp, "2024-01-01T00:00:00.000Z"),
        ("\"2024-01-01T01:30:00.000001+01:30\"", Timestamp, "2024-01-01T00:00:00.000001Z"),
        ("\"2024-01-01T00:00:00.000000001Z\"", Timestamp, "2024-01-01T00:00:00.000Z"),
        ("\"2024-01-01T00:00:00\"", Text, "2024-01-01T00:00:00"),
        ("\"2024-01-01T00:00:00+0100\"", Text, "2024-01-01T00:00:00+0100"),
        ("\"2024-01-01T00:00:00Z[UTC]\"", Text, "2024-01-01T00:00:00Z[UTC]"),
        ("\"2024-01-01T01:00:00.1234567890123+01:00\"", Timestamp, "2024-01-01T00:00:00.123456Z"),
        ("\"2024-01-01T00:00:00.Z\"", Text, "2024-01-01T00:00:00.Z"),
        ("\"9999-12-31T23:59:59Z\"", Timestamp, "9999-12-31T23:59:59.000Z"),
        ("\"9999-12-31T23:59:59.9999999Z\"", Timestamp, "9999-12-31T23:59:59.999999Z"),
        ("\"9999-12-31T23:59:59-14:00\"", Text, "9999-12-31T23:59:59-14:00"),
        ("\"0000-01-01T00:00:00.000Z\"", Text, "0000-01-01T00:00:00.000Z"),
        ("[1, 2.50, {}]", Json, "[1,2.50,{}]"),
        ("{}", Json, "{}"),
    ] {
        assert_eq!(seen(json), (Some(kind), text.to_owned()), "{json}");
    }
    assert_eq!(seen("null").0, None);
}

#[test]
fn instants_of_base_columns_have_six_digits() {
    for (given, kind, text) in [
        ("2024-01-01T00:00:00.123456Z", Type::Timestamp, "2024-01-01T00:00:00.123456Z"),
        ("2024-01-01T00:00:00.120Z", Type::Timestamp, "2024-01-01T00:00:00.120000Z"),
        ("2024-01-01T02:00:00+02:00", Type::Timestamp, "2024-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.9999999Z", Type::Timestamp, "9999-12-31T23:59:59.999999Z"),
        ("2024-01-01 00:00:00", Type::Timestamp, "2024-01-01T00:00:00.000000Z"),
        ("2024-01-01T02:00:00+0200", Type::Timestamp, "2024-01-01T00:00:00.000000Z"),
        ("1714979289123", Type::Timestamp, "2024-05-06T07:08:09.123000Z"),
        ("2024-01-01T00:00:00é123Z", Type::Text, "2024-01-01T00:00:00é123Z"),
    ] {
        let value = Value::from(given);
        let scalar = Scalar::of_instant(&value, &FIT).unwrap();
        assert_eq!((scalar.kind(), &*scalar.text()), (kind, text), "{given}");
    }
    let whole = |text: &str| is_kept_whole(&Value::from(text));
    assert!(!whole("2024-01-01T00:00:00.1234567Z") && whole("2024-01-01T00:00:00.123456000Z"));
    assert!(!whole("2016-12-31T23:59:60Z"));
    assert!(!whole("2024-01-01T00:00:00") && !is_kept_whole(&Value::from(1_714_979_289)));
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
        let value = spelled.parse::<Value>().unwrap();
        if let Some(scalar @ Scalar::Decimal(_)) = Scalar::of(&value, &FIT) {
            prop_assert_eq!(real_text(spelled.parse().unwrap()), scalar.text().into_owned());
        }
    }

    /// A column's spelling of an instant is its own, whoever spelled it, and names the same instant.
    #[test]
    fn an_instant_has_one_spelling(
        at in -62_135_596_800_000_000_i64..253_402_214_400_000_000, minutes in -840_i64..=840, digits in 0_usize..=9,
    ) {
        let at = jiff::Timestamp::from_microsecond(at).unwrap();
        let offset = jiff::tz::Offset::from_seconds(i32::try_from(minutes * 60).unwrap()).unwrap();
        let local = offset.to_datetime(at);
        prop_assume!((1..=9998).contains(&local.year()));
        let fraction = format!("{:09}", local.subsec_nanosecond());
        let point = if digits == 0 { "" } else { "." };
        let sign = if minutes < 0 { '-' } else { '+' };
        let given = format!(
            "{}{point}{}{sign}{:02}:{:02}",
            local.strftime("%Y-%m-%dT%H:%M:%S"), &fraction[..digits], minutes.abs() / 60, minutes.abs() % 60
        );
        let value = Value::from(given.as_str());
        let scalar = Scalar::of(&value, &FIT).unwrap();
        prop_assert_eq!(scalar.kind(), Type::Timestamp, "{}", given);
        let text = Value::from(&*scalar.text());
        let again = Scalar::of(&text, &FIT).unwrap();
        prop_assert!(!again.is_respelled());
        prop_assert_eq!(again.text(), scalar.text());
        prop_assert_eq!(time::parse(&given), time::parse(&scalar.text()));
    }

    /// `Z` and `+00:00` are the same offset, so what a text with `Z` shows at a glance is what the calendar says.
    #[test]
    fn an_instant_is_the_same_with_either_spelling_of_utc(
        civil in "(000[01]|19[0-9]{2}|20[0-9]{2}|9999)-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]",
        fraction in "(\\.[0-9]{1,3}|\\.[0-9]{3}000|\\.[0-9]{4,8})?",
    ) {
        let read = |zone: &str, is_base: bool| {
            let value = Value::from(format!("{civil}{fraction}{zone}"));
            let scalar = if is_base { Scalar::of_instant(&value, &FIT) } else { Scalar::of(&value, &FIT) };
            scalar.filter(|scalar| scalar.kind() == Type::Timestamp).map(|scalar| scalar.text().into_owned())
        };
        for is_base in [false, true] {
            prop_assert_eq!(read("Z", is_base), read("+00:00", is_base));
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
