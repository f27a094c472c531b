//! How destinations and streams answered, for people.

use tidegate_api_types::tried::{TriedConnection, TriedRight, TriedStream};

use super::style;

/// What one stream said, of an environment if that is not the server's own. What is wrong goes to standard error.
pub(super) fn print_stream(environment: Option<&str>, tried: &TriedStream) {
    let source = style::plain(&tried.source, 100);
    let of = environment.map_or_else(String::new, |name| format!(" of {}", style::plain(name, 100)));
    let (place, says) = (style::plain(&tried.place, 300), style::plain(&tried.says.join("; "), 2_000));
    if tried.ok {
        println!("{} source {source}{of}, {place}: {says}", style::good("ok"));
    } else {
        eprintln!("{} source {source}{of}, {place}: {says}", style::error("failed:"));
    }
}

/// What one destination said, of an environment if that is not the server's own, and what may be done there. What is wrong goes to standard
/// error.
pub(super) fn print(environment: Option<&str>, tried: &TriedConnection) {
    let TriedConnection { sync, destination, ok, says, may } = tried;
    let of = sync.as_ref().map_or_else(|| "no sync".to_owned(), |sync| format!("sync {}", style::plain(sync, 100)));
    let of = match environment {
        Some(name) => format!("{of} of {}", style::plain(name, 100)),
        None => of,
    };
    let destination = style::plain(destination, 100);
    if *ok {
        println!("{} {destination} ({of}): {}", style::good("ok"), style::plain(says, 500));
    } else {
        eprintln!("{} {destination} ({of}): {}", style::error("failed:"), style::plain(says, 1_000));
    }
    let can = |right: &&TriedRight| right.can == Some(true);
    let may_do: Vec<&str> = may.iter().filter(can).map(|right| right.what.as_str()).collect();
    if !may_do.is_empty() {
        println!("   it may {}", style::plain(&may_do.join("; "), 2_000));
    }
    for right in may.iter().filter(|right| !can(right)) {
        let (start, end) = match (right.can, right.needed) {
            (None, _) => ("it is not known whether it may", ""),
            (_, true) => ("it may not", ", so nothing can be loaded"),
            (_, false) => ("it may not", ", and loads without"),
        };
        let fix = right.fix.as_deref().unwrap_or_default();
        eprintln!("   {start} {}{end}: {}", style::plain(&right.what, 500), style::plain(fix, 2_000));
    }
}
