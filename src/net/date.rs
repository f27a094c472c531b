//! The `Date` of an answer.
//!
//! Made here because the HTTP server's own panics when the clock is before 1970 or beyond 9999.

use std::cell::RefCell;

use hyper::header::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

const PRINTER: DateTimePrinter = DateTimePrinter::new();

thread_local! {
    /// The second that was spelled last, and how.
    static LAST: RefCell<(i64, Option<HeaderValue>)> = const { RefCell::new((i64::MIN, None)) };
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; `None` when the clock shows what no HTTP date can say.
pub(super) fn of(now_us: i64) -> Option<HeaderValue> {
    let second = now_us.div_euclid(1_000_000);
    LAST.with_borrow_mut(|(last, value)| {
        if *last != second {
            *last = second;
            *value = Timestamp::from_second(second)
                .ok()
                .filter(|_| second >= 0)
                .and_then(|at| PRINTER.timestamp_to_rfc9110_string(&at).ok())
                .and_then(|text| HeaderValue::try_from(text).ok());
        }
        value.clone()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_date_is_spelled_as_http_asks_and_left_out_where_it_cannot_be() {
        let of = |us: i64| super::of(us).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(of(784_111_777_000_000).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(of(784_111_777_999_999).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(of(0).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!((of(-1), of(i64::MIN), of(i64::MAX)), (None, None, None));
    }
}
