//! One HTTP exchange with ClickHouse.
//!
//! The password travels in a header, settings in the query. The server answers when it is done (`wait_end_of_query`), so
//! the status is the outcome. The body of a statement is looked at all the same, for an exception behind a good status; answers
//! are checked by who asked.

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Url};

use super::error::ClickHouseError;
use super::settings::CheckedClickHouse;

/// How much of an error is kept.
const ERROR_BYTES_MAX: usize = 4 << 10;
/// The bound of an answer that should be empty.
const NOTHING: usize = 64 << 10;

/// With every request.
const SETTINGS: [(&str, &str); 11] = [
    ("wait_end_of_query", "1"),
    ("async_insert", "0"),
    // Rows are told apart by their ids. Blocks remembered by the server would drop what an operator deleted and replays.
    ("insert_deduplicate", "0"),
    ("input_format_with_names_use_header", "1"),
    ("input_format_with_types_use_header", "1"),
    ("input_format_skip_unknown_fields", "0"),
    ("mutations_sync", "2"),
    ("alter_sync", "2"),
    // Where there are replicas, what one has taken another may not have heard of.
    ("select_sequential_consistency", "1"),
    // A table with all its columns.
    ("max_query_size", "16777216"),
    ("max_ast_elements", "1000000"),
];

/// A query takes the place of one with the same id that still runs: the server cancels that one and waits for its end.
const REPLACE: (&str, &str) = ("replace_running_query", "1");

/// The way to one server.
#[derive(Debug)]
pub(super) struct ClickHouseWire {
    client: Client,
    url: Url,
    headers: HeaderMap,
    compress: bool,
}

impl ClickHouseWire {
    /// Prepares everything; the server is not asked yet.
    pub(super) fn new(settings: &CheckedClickHouse) -> Result<Self, ClickHouseError> {
        let unusable = |problem: String| ClickHouseError::Settings { problem };
        let builder = settings.web.client().map_err(|error| unusable(error.to_string()))?;
        let client = builder
            .connect_timeout(settings.timeout.min(std::time::Duration::from_secs(10)))
            .timeout(settings.timeout)
            // Servers of old close idle connections after three seconds.
            .pool_idle_timeout(std::time::Duration::from_millis(2500))
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-clickhouse-user", &settings.user), ("x-clickhouse-key", &settings.password)] {
            let mut value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| unusable("user or password holds a control character".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self { client, url: settings.url.clone(), headers, compress: settings.compress })
    }

    fn url(&self, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(SETTINGS).extend_pairs(parameters);
        url
    }

    /// Runs a statement.
    pub(super) async fn run(&self, doing: &'static str, sql: &str) -> Result<(), ClickHouseError> {
        self.ask(doing, sql, NOTHING).await.map(drop)
    }

    /// Runs a query; its answer of at most so many bytes.
    pub(super) async fn ask(
        &self,
        doing: &'static str,
        sql: &str,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ClickHouseError> {
        let request = self.client.post(self.url(&[])).body(sql.to_owned());
        self.exchange(doing, request, bytes_max).await
    }

    /// Runs a query that reads a table `ids` of one column `id`, sent with it as RowBinary.
    pub(super) async fn ask_of(
        &self,
        doing: &'static str,
        (sql, query_id): (&str, &str),
        ids: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<u8>, ClickHouseError> {
        let parameters = [
            ("query", sql),
            ("ids_structure", "id String"),
            ("ids_format", "RowBinary"),
            ("query_id", query_id),
            REPLACE,
        ];
        // No id that a client makes up can contain it.
        let boundary = tidegate_process::clock::uuid();
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"ids\"; filename=\"ids\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        );
        let body = [head.as_bytes(), ids, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        let request = self
            .client
            .post(self.url(&parameters))
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .body(body);
        self.exchange(doing, request, bytes_max).await
    }

    /// Inserts rows.
    pub(super) async fn insert(
        &self,
        doing: &'static str,
        (sql, query_id): (&str, &str),
        rows: Vec<u8>,
    ) -> Result<(), ClickHouseError> {
        let mut request = self.client.post(self.url(&[("query", sql), ("query_id", query_id), REPLACE]));
        request = if self.compress {
            request.header(CONTENT_ENCODING, "gzip").body(gzipped(&rows))
        } else {
            request.body(Bytes::from(rows))
        };
        self.exchange(doing, request, NOTHING).await.map(drop)
    }

    async fn exchange(
        &self,
        doing: &'static str,
        request: reqwest::RequestBuilder,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ClickHouseError> {
        let net = |source: reqwest::Error| ClickHouseError::Net { doing, source: source.without_url() };
        let mut response = request.headers(self.headers.clone()).send().await.map_err(net)?;
        let status = response.status().as_u16();
        let code =
            response.headers().get("x-clickhouse-exception-code").and_then(|code| code.to_str().ok()?.parse().ok());
        let good = status == 200 && code.is_none();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(net)? {
            body.extend_from_slice(&chunk);
            if good && body.len() > bytes_max {
                return Err(ClickHouseError::Long { doing, bytes: bytes_max });
            }
            if !good && body.len() > ERROR_BYTES_MAX {
                break;
            }
        }
        // Answers hold what clients wrote; a statement has none.
        if good && (bytes_max != NOTHING || !ends_in_exception(&body)) {
            return Ok(body);
        }
        let text = if good { &body[body.len().saturating_sub(ERROR_BYTES_MAX)..] } else { &body[..] };
        let text = String::from_utf8_lossy(&text[..text.len().min(ERROR_BYTES_MAX)]).trim().to_owned();
        Err(match code.or_else(|| code_of(&text)) {
            Some(code) => ClickHouseError::Server { doing, code, text },
            None => ClickHouseError::Http { doing, status, text },
        })
    }
}

/// Whether an answer that began well was broken off by an exception.
fn ends_in_exception(body: &[u8]) -> bool {
    let tail = &body[body.len().saturating_sub(ERROR_BYTES_MAX)..];
    memchr::memmem::find(tail, b"DB::Exception: ")
        .is_some_and(|at| memchr::memmem::find(&tail[..at], b"Code: ").is_some())
}

/// `Code: 60. DB::Exception: ...`
fn code_of(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    rest.split_once('.')?.0.parse().ok()
}

fn gzipped(rows: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(rows.len() / 4), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(rows);
    encoder.finish().unwrap_or_default()
}

/// Reads answers in RowBinary; `None` when they end too early.
#[derive(Debug)]
pub(super) struct ClickHouseAnswer<'b>(pub(super) &'b [u8]);

impl<'b> ClickHouseAnswer<'b> {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<&'b [u8]> {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return self.take(length);
            }
            shift += 7;
        }
    }

    pub(super) fn text(&mut self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_behind_a_good_beginning_is_seen() {
        let body = b"m0\nm1\nCode: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED) (version 26.9)\n";
        assert!(ends_in_exception(body) && !ends_in_exception(b"DB::Exception: "));
        assert_eq!(code_of(&String::from_utf8_lossy(body)), Some(241));
    }

    #[test]
    fn answers_that_end_too_early_are_no_answers() {
        let mut answer = ClickHouseAnswer(&[3, b'a', b'b']);
        assert_eq!(answer.bytes(), None);
        assert_eq!(ClickHouseAnswer(&[0x80; 12]).bytes(), None);
        assert_eq!(ClickHouseAnswer(&[2, b'o', b'k', 1]).text().as_deref(), Some("ok"));
        assert_eq!(ClickHouseAnswer(&[1, 0, 0]).number(), None);
    }
}
