//! Plots, drawn by the server: no script, and the numbers stand beside them.

use maud::{Markup, html};
use tidegate_api_types::activity::HourActivity;
use tidegate_api_types::conservation::FateNumbers;
use tidegate_event::time;

use super::text;

const HOUR_US: i64 = 3_600_000_000;
/// The height of the drawing, in its own units.
const HEIGHT: i64 = 100;

/// What a line of a plot is of.
pub(super) struct PlotLine {
    pub(super) name: &'static str,
    /// A class of the stylesheet: `in`, `out` or `bad`.
    pub(super) class: &'static str,
    /// One for each hour, oldest first.
    pub(super) values: Vec<i64>,
}

/// The hours of a plot.
pub(super) struct PlotHours {
    first_us: i64,
    count: usize,
}

impl PlotHours {
    /// So many from a time on, which is written as RFC 3339.
    pub(super) fn new(from: &str, count: u64) -> Self {
        Self { first_us: time::parse(from).unwrap_or(0), count: usize::try_from(count).unwrap_or(0) }
    }

    /// The last `count` of these.
    pub(super) fn last(&self, count: usize) -> Self {
        let count = count.min(self.count);
        let left_out = i64::try_from(self.count - count).unwrap_or(0);
        Self { first_us: self.first_us + left_out * HOUR_US, count }
    }

    /// Adds what `of` counts of each hour to its place.
    pub(super) fn add(&self, values: &mut Vec<i64>, hours: &[HourActivity], of: impl Fn(&FateNumbers) -> i64) {
        values.resize(self.count, 0);
        for HourActivity { hour, counts } in hours {
            self.put(values, hour, of(counts));
        }
    }

    /// What is counted of each hour, which has its beginning beside it.
    pub(super) fn values<'h>(&self, counted: impl Iterator<Item = (&'h str, i64)>) -> Vec<i64> {
        let mut values = vec![0; self.count];
        for (hour, number) in counted {
            self.put(&mut values, hour, number);
        }
        values
    }

    fn put(&self, values: &mut [i64], hour: &str, number: i64) {
        let at = time::parse(hour).map(|at_us| at_us.saturating_sub(self.first_us).div_euclid(HOUR_US));
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(value) = at.and_then(|at| values.get_mut(at)) {
            *value = value.saturating_add(number);
        }
    }

    fn name(&self, at: usize) -> String {
        let hour = self.first_us.saturating_add(i64::try_from(at).unwrap_or(0).saturating_mul(HOUR_US));
        // Day and hour are enough.
        time::format(hour).get(5..16).unwrap_or_default().replace('T', " ")
    }
}

/// Lines over hours. `label` says what is drawn, for those who do not see it.
pub(super) fn plot(label: &str, hours: &PlotHours, lines: &[PlotLine]) -> Markup {
    let most = lines.iter().flat_map(|line| &line.values).copied().max().unwrap_or(0).max(1);
    let width = hours.count.saturating_sub(1).max(1);
    html! {
        figure.plot {
            figcaption {
                (label)
                @for line in lines {
                    span class={ "key " (line.class) } { (line.name) }
                }
            }
            div.drawing {
                span.most { (text::count(most)) }
                svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                    path.grid d={ "M0 " (HEIGHT) "H" (width) "M0 50H" (width) "M0 0H" (width) } vector-effect="non-scaling-stroke" {}
                    @for line in lines {
                        path class={ "line " (line.class) } d=(path(&line.values, most)) vector-effect="non-scaling-stroke" {}
                    }
                }
                div.ends { span { (hours.name(0)) } span { (hours.name(hours.count.saturating_sub(1))) " UTC" } }
            }
            details {
                summary { "The numbers" }
                div.scroll tabindex="0" role="region" aria-label={ (label) ", as numbers" } {
                    table {
                        thead { tr { th scope="col" { "Hour" } @for line in lines { th.number scope="col" { (line.name) } } } }
                        tbody {
                            @for at in (0..hours.count).rev().filter(|at| is_of_any(lines, *at)) {
                                tr {
                                    th scope="row" { (hours.name(at)) }
                                    @for line in lines {
                                        td.number { (text::count(line.values.get(at).copied().unwrap_or(0))) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The same height, for numbers with a point.
const SCALE: f64 = 100.0;

/// A line through points, in their order, from zero or the least of them to the most. Their numbers stand where they come from.
pub(super) fn plot_points(label: &str, points: &[(String, f64)]) -> Markup {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let least = points.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    let width = points.len().saturating_sub(1).max(1);
    let name = |point: Option<&(String, f64)>| point.map(|(name, _)| text::short(name)).unwrap_or_default();
    html! {
        figure.plot {
            figcaption { (label) }
            div.drawing {
                span.most { (most.to_string()) }
                svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                    path.grid d={ "M0 " (HEIGHT) "H" (width) "M0 50H" (width) "M0 0H" (width) } vector-effect="non-scaling-stroke" {}
                    path class="line in" d=(points_path(points, (least, most))) vector-effect="non-scaling-stroke" {}
                }
                div.ends { span { bdi { (name(points.first())) } } span { bdi { (name(points.last())) } } }
            }
        }
    }
}

fn points_path(points: &[(String, f64)], (least, most): (f64, f64)) -> String {
    let span = if most > least { most - least } else { 1.0 };
    let mut drawn = String::new();
    for (at, (_, value)) in points.iter().enumerate() {
        let step = if at == 0 { 'M' } else { 'L' };
        drawn.push_str(&format!("{step}{at} {:.1}", SCALE - (value - least) / span * SCALE));
    }
    drawn
}

/// Whether an hour has anything.
fn is_of_any(lines: &[PlotLine], at: usize) -> bool {
    lines.iter().any(|line| line.values.get(at).is_some_and(|value| *value != 0))
}

/// The line through these values, of which `most` is at the top.
fn path(values: &[i64], most: i64) -> String {
    let mut drawn = String::new();
    for (at, value) in values.iter().enumerate() {
        let share = (*value).clamp(0, most).saturating_mul(HEIGHT) / most.max(1);
        let step = if at == 0 { 'M' } else { 'L' };
        drawn.push_str(&format!("{step}{at} {}", HEIGHT - share));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_drawn_in_their_order() {
        let points = [("<a>".to_owned(), 5.0), ("b".to_owned(), 10.0), ("c".to_owned(), -10.0)];
        assert_eq!(points_path(&points, (-10.0, 10.0)), "M0 25.0L1 0.0L2 100.0");
        let drawn = plot_points("n by event", &points).into_string();
        assert!(drawn.contains("&lt;a&gt;") && drawn.contains("n by event"), "{drawn}");
        assert_eq!(points_path(&[("a".to_owned(), 0.0)], (0.0, 0.0)), "M0 100.0");
    }

    #[test]
    fn a_value_stands_at_its_hour_and_the_largest_at_the_top() {
        let hours = PlotHours::new("2026-01-01T00:00:00Z", 3);
        let counted = |hour: &str, came: i64| HourActivity {
            hour: hour.to_owned(),
            counts: FateNumbers { came, ..FateNumbers::default() },
        };
        let found = [
            counted("2026-01-01T01:00:00Z", 5),
            counted("2026-01-01T02:00:00Z", 10),
            counted("2025-12-31T23:00:00Z", 9),
        ];
        let mut values = Vec::new();
        hours.add(&mut values, &found, |counts| counts.came);
        assert_eq!(values, [0, 5, 10]);
        assert_eq!(path(&values, 10), "M0 100L1 50L2 0");
        let twice = ["2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z", "no time"].map(|hour| (hour, 2));
        assert_eq!(hours.values(twice.into_iter()), [0, 4, 0]);
        let mut last = Vec::new();
        hours.last(2).add(&mut last, &found, |counts| counts.came);
        assert_eq!(last, [5, 10]);
        let drawn = plot("Events", &hours, &[PlotLine { name: "in", class: "in", values }]).into_string();
        assert!(drawn.contains("01-01 02:00") && drawn.contains(">10<"), "{drawn}");
    }
}
