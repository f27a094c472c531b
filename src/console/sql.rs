//! Tables of embedded warehouses, read by SQL.

use axum::response::{IntoResponse as _, Response};
use hyper::header::{self, HeaderValue};
use maud::{Markup, html};
use serde_json::Value;
use tidegate_api_types::object::Objects;
use tidegate_api_types::path;
use tidegate_api_types::query::{QueriedRows, QueriedTables, QueryDestination};

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::fields::FormState;
use super::layout::ConsolePage;
use super::live::quoted;
use super::plot::plot_points;
use super::text::{amount, short, visible};

const OBJECTS_MAX: &str = "1000";
const FIELDS: [&str; 2] = ["destination", "sql"];
/// Characters of a cell on a page; a download has all that the API gives.
const CELL_CHARS_MAX: usize = 500;
/// Bytes of a statement that a command shows whole.
const COMMAND_BYTES_MAX: usize = 200;
/// Points of a plot.
const POINTS_MIN: usize = 2;
const POINTS_MAX: usize = 1_000;
/// A cell that begins so is taken for a formula by programs that show tables.
const FORMULA_BEGINS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let all = destinations(&request).await?;
    let first = all.first().map(String::as_str).unwrap_or_default();
    let destination = request.get("destination").unwrap_or(first).to_owned();
    let values = PagePairs::of(&[("destination", destination), ("sql", request.text("sql").to_owned())]);
    page(&request, (FormState::new(&values, None), &all), None).await
}

/// The destinations whose tables are read here.
async fn destinations(request: &PageRequest) -> Result<Vec<String>, PageRefusal> {
    let all: Objects = request.ask(&path::OBJECTS.replace("{kind}", "destination"), &[("limit", OBJECTS_MAX)]).await?;
    let is_embedded = all.objects.into_iter().filter(|object| object.spec["kind"] == "sqlite");
    Ok(is_embedded.map(|object| object.name).collect())
}

async fn page(
    request: &PageRequest,
    (form, all): (FormState<'_>, &[String]),
    found: Option<&QueriedRows>,
) -> Result<Response, PageRefusal> {
    let destination = form.values.text("destination");
    // Whoever certainly may not is not in the audit log for looking at a page.
    let may_ask = request.may_see_events();
    let tables = match may_ask && !destination.is_empty() {
        false => None,
        true => Some(request.ask::<QueriedTables>(&place(destination), &[]).await),
    };
    let (tables, withheld) = match tables {
        None => (None, None),
        Some(Ok(tables)) => (Some(tables), None),
        Some(Err(error)) => (None, Some(error.of_form()?)),
    };
    let sent = form.problem;
    let form = FormState::new(form.values, sent.or(withheld.as_deref()));
    let content = html! {
        (form.top(&FIELDS))
        @if all.is_empty() {
            p { "There is no destination of kind " code { "sqlite" } " here that you may see. Other warehouses have clients of their own." }
        } @else if !may_ask {
            p.notice { "You may not see the events of these destinations. It takes a role with `see_payloads` on them and on their sources." }
        } @else {
            form.fields method="post" action=(request.to("/sql", &[])) {
                (form.choice("destination", "Destination", all.iter().map(|name| (name.as_str(), name.as_str()))))
                (form.area("sql", "One SELECT", "6"))
                div.actions {
                    button type="submit" { "Run" }
                    button type="submit" formaction=(request.to("/sql/csv", &[])) { "Download as CSV" }
                }
            }
            p.quiet { "It reads and nothing else: 5 seconds, 1,000 rows, one at a time. Its text stands in the audit log." }
            @if let Some(found) = found { (rows(found)) }
            @if let Some(tables) = &tables { (listed(tables)) }
        }
    };
    let sql = form.values.whole("sql").trim().replace("\r\n", "\n");
    let command = match sql.len() {
        0 => "tidegate sql".to_owned(),
        1..=COMMAND_BYTES_MAX => format!("tidegate sql --destination {} {}", quoted(destination), quoted(&sql)),
        _ => format!("tidegate sql --destination {} 'SELECT …'", quoted(destination)),
    };
    Ok(ConsolePage { title: "SQL", at: "/sql", command, updates: None, content }.show_after(sent, request))
}

fn place(destination: &str) -> String {
    path::DESTINATION_QUERY.replace("{name}", &segment(destination))
}

fn listed(tables: &QueriedTables) -> Markup {
    html! {
        section {
            h2 { "Tables" }
            @if tables.tables.is_empty() { p.quiet { "There are none yet." } }
            @for table in &tables.tables {
                details {
                    summary { code { bdi { (short(&table.name)) } } " " span.quiet { (amount(table.columns.len() as u64)) " columns" } }
                    p { @for column in &table.columns { code { bdi { (short(column)) } } " " } }
                }
            }
        }
    }
}

fn rows(found: &QueriedRows) -> Markup {
    html! {
        section {
            h2 { "Rows" }
            p role="status" {
                (amount(found.rows.len() as u64)) " rows in " (amount(found.took_ms)) " ms."
                @if found.more { " There are more: these are the first." }
                @if found.cut > 0 { " " (amount(found.cut)) " cells are shortened." }
            }
            @if let Some(points) = points(found) {
                (plot_points(&format!("{} by {}", name_at(found, 1), name_at(found, 0)), &points))
            }
            div.scroll tabindex="0" role="region" aria-label="Rows" {
                table {
                    thead { tr { @for column in &found.columns { th scope="col" { bdi { (short(column)) } } } } }
                    tbody {
                        @for row in &found.rows {
                            tr {
                                @for cell in row {
                                    @match cell {
                                        Value::Null => { td { span.quiet { "null" } } }
                                        Value::Number(number) => { td.number { (number.to_string()) } }
                                        other => { td { bdi { (visible(&plain(other), CELL_CHARS_MAX)) } } }
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

fn name_at(found: &QueriedRows, at: usize) -> String {
    found.columns.get(at).map(|name| short(name)).unwrap_or_default()
}

fn plain(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What can be drawn: the first column has names or times, and the second numbers.
fn points(found: &QueriedRows) -> Option<Vec<(String, f64)>> {
    let point = |row: &Vec<Value>| match (row.first()?, row.get(1)?) {
        (Value::String(name), Value::Number(number)) => Some((name.clone(), number.as_f64()?)),
        _ => None,
    };
    let points: Option<Vec<(String, f64)>> = found.rows.iter().map(point).collect();
    points.filter(|points| (POINTS_MIN..=POINTS_MAX).contains(&points.len()))
}

/// Runs it.
pub(super) async fn run(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let all = destinations(&request).await?;
    match asked(&request, &fields).await {
        Ok(found) => page(&request, (FormState::new(&fields, None), &all), Some(&found)).await,
        Err(error) => {
            let problem = error.of_form()?;
            page(&request, (FormState::new(&fields, Some(&problem)), &all), None).await
        }
    }
}

async fn asked(request: &PageRequest, fields: &PagePairs) -> Result<QueriedRows, PageRefusal> {
    let Some(destination) = fields.get("destination") else {
        return Err(PageRefusal::field("destination", "no destination is chosen", "choose one"));
    };
    let order = QueryDestination { sql: fields.whole("sql").to_owned() };
    request.order(&place(destination), &order).await
}

/// Runs it, for a file.
pub(super) async fn csv(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    match asked(&request, &fields).await {
        Ok(found) => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
                (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"rows.csv\"")),
            ];
            Ok((headers, csv_text(&found)).into_response())
        }
        Err(error) => {
            let (problem, all) = (error.of_form()?, destinations(&request).await?);
            page(&request, (FormState::new(&fields, Some(&problem)), &all), None).await
        }
    }
}

/// As RFC 4180 has it: a line for the names and one for each row.
fn csv_text(found: &QueriedRows) -> String {
    let mut text = csv_line(found.columns.iter().map(|name| csv_cell(name)));
    for row in &found.rows {
        text.push_str(&csv_line(row.iter().map(|cell| match cell {
            Value::String(words) => csv_cell(words),
            other => plain(other),
        })));
    }
    text
}

fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let mut line = cells.collect::<Vec<String>>().join(",");
    line.push_str("\r\n");
    line
}

/// A text within quotation marks; one that would be a formula begins with an apostrophe.
fn csv_cell(text: &str) -> String {
    let mark = if text.starts_with(FORMULA_BEGINS) { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(rows: Value) -> QueriedRows {
        let rows = serde_json::from_value(rows).unwrap();
        QueriedRows { columns: vec!["day".to_owned(), "n".to_owned()], rows, ..QueriedRows::default() }
    }

    #[test]
    fn numbers_by_names_are_drawn_and_nothing_else() {
        let days = json!([["2026-01-01", 3], ["2026-01-02", 4.5]]);
        assert_eq!(points(&found(days)).unwrap(), [("2026-01-01".to_owned(), 3.0), ("2026-01-02".to_owned(), 4.5)]);
        for other in [
            json!([]),
            json!([["a", 1]]),
            json!([["a", 1], ["b", null]]),
            json!([[1, 1], [2, 2]]),
            json!([["a"], ["b"]]),
        ] {
            assert_eq!(points(&found(other.clone())), None, "{other}");
        }
    }

    #[test]
    fn a_file_is_what_every_program_reads_and_runs_nothing() {
        let rows = found(json!([["a \"b\",\n", 1], ["=1+1", null], ["<script>", -2.5]]));
        let text = csv_text(&rows);
        assert_eq!(text, "\"day\",\"n\"\r\n\"a \"\"b\"\",\n\",1\r\n\"'=1+1\",\r\n\"<script>\",-2.5\r\n");
    }
}
