//! How far a job is that reads the log once more, and what became of events, for people: of a replay and of a rebuild.

use tidegate_api_types::replay::{ReplayPart, ReplayRefusal};
use tidegate_event::Position;

use super::style;

/// Which share of the offsets is done.
pub(super) fn done(step: &str, parts: &[ReplayPart]) -> String {
    let (mut all, mut done) = (0_u64, 0_u64);
    for part in parts {
        all += part.to.saturating_sub(part.from);
        done += part.at.min(part.to).saturating_sub(part.from);
    }
    match step {
        "" => "not begun".to_owned(),
        _ => format!("{} %", (done * 100).checked_div(all).unwrap_or(100)),
    }
}

/// The parts, what whoever reads this should know, and what the job is failing at.
pub(super) fn print_parts<'n>(parts: &[ReplayPart], notes: impl Iterator<Item = &'n String>, failure: Option<&str>) {
    for part in parts {
        let [from, to, at] = [part.from, part.to, part.at].map(|offset| Position::new(part.partition, offset));
        println!("partition {}: positions {from} to before {to}, at {at}", part.partition);
    }
    for note in notes {
        println!("{} {}", style::bold("note:"), style::plain(note, 400));
    }
    if let Some(failure) = failure {
        println!("{} {}", style::error("fails:"), style::plain(failure, 1_000));
    }
}

/// How many events came to what.
pub(super) fn print_counts(counts: &[(&str, u64)]) {
    let mut table = style::table(&["events", "how many"]);
    for (what, count) in counts {
        table.add_row([(*what).to_owned(), style::count(*count)]);
    }
    println!("{table}");
}

pub(super) fn print_refused(refused: &[ReplayRefusal]) {
    for refused in refused {
        println!("refused: {} ({})", refused.position, style::plain(&refused.code, 100));
    }
}
