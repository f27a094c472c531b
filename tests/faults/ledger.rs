//! What was sent and answered, kept outside of the server, and how the tables are held against it.
//!
//! Everything in an event follows from its client and number, so the ledger keeps numbers alone.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};

use crate::Found;

/// What each client was answered 200 for.
pub struct Ledger {
    seed: u64,
    clients: Vec<Mutex<Marks>>,
    /// Properties that every so many-th event of a client has besides.
    more: Option<(u64, Map<String, Value>)>,
}

/// A set of numbers.
#[derive(Default, Clone)]
struct Marks(Vec<u64>);

impl Marks {
    fn has(&self, n: u64) -> bool {
        self.0.get((n / 64) as usize).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    /// True when it was not there.
    fn add(&mut self, n: u64) -> bool {
        let at = (n / 64) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let new = !self.has(n);
        self.0[at] |= 1 << (n % 64);
        new
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.0.len() as u64 * 64).filter(|n| self.has(*n))
    }
}

impl Ledger {
    pub fn new(seed: u64, clients: usize) -> Self {
        Self { seed, clients: (0..clients).map(|_| Mutex::default()).collect(), more: None }
    }

    /// Every `every`th event of a client has these properties besides.
    pub fn with_properties(self, every: u64, more: Map<String, Value>) -> Self {
        Self { more: Some((every, more)), ..self }
    }

    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    pub fn id(&self, client: usize, n: u64) -> String {
        format!("f{:x}-{client}-{n}", self.seed)
    }

    /// Client and number of an event of this ledger.
    pub fn place(&self, id: &str) -> Option<(usize, u64)> {
        let rest = id.strip_prefix(&format!("f{:x}-", self.seed))?;
        let (client, n) = rest.split_once('-')?;
        let client = client.parse().ok().filter(|client| *client < self.clients.len())?;
        Some((client, n.parse().ok()?))
    }

    /// Event `n` of a client.
    pub fn event(&self, client: usize, n: u64) -> Value {
        let mut event = json!({
            "type": "track", "event": "Fault", "messageId": self.id(client, n), "userId": format!("u{}", n % 97),
            "properties": {"n": n, "said": said(client, n), "big": big(client, n)},
        });
        if let Some((_, more)) = self.more.as_ref().filter(|(every, _)| n.is_multiple_of(*every)) {
            for (name, value) in more {
                event["properties"][name] = value.clone();
            }
        }
        event
    }

    pub fn answered(&self, client: usize, numbers: std::ops::Range<u64>) {
        let mut marks = self.clients[client].lock().expect("nobody panics with it");
        for n in numbers {
            marks.add(n);
        }
    }

    pub fn acked(&self) -> u64 {
        self.clients.iter().map(|marks| marks.lock().expect("nobody panics with it").len()).sum()
    }

    /// Every event that was answered for, by client.
    pub fn each(&self) -> Vec<(usize, Vec<u64>)> {
        let numbers = |marks: &Mutex<Marks>| marks.lock().expect("nobody panics with it").numbers().collect();
        self.clients.iter().enumerate().map(|(client, marks)| (client, numbers(marks))).collect()
    }

    /// Holds the tables of the embedded warehouse against what was answered.
    pub fn judge(&self, warehouse: &Path) -> Found {
        let mut found = Found { acked: self.acked(), ..Found::default() };
        let connection = match Connection::open_with_flags(warehouse, OpenFlags::SQLITE_OPEN_READ_ONLY) {
            Ok(connection) => connection,
            Err(error) => {
                found.lost = found.acked;
                found.notes.push(format!("{}: {error}", warehouse.display()));
                return found;
            }
        };
        let check: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap_or_else(|e| e.to_string());
        if check != "ok" {
            found.altered += 1;
            found.notes.push(format!("the warehouse's file is damaged: {check}"));
        }
        for (table, columns) in [("fault", "id, n, said, big"), ("tracks", "id, NULL, NULL, NULL")] {
            self.judge_table(&connection, table, columns, &mut found);
        }
        found
    }

    fn judge_table(&self, connection: &Connection, table: &str, columns: &str, found: &mut Found) {
        let mut there: Vec<Marks> = vec![Marks::default(); self.clients.len()];
        let mut read = |found: &mut Found| -> rusqlite::Result<()> {
            let mut select = connection.prepare(&format!("SELECT {columns} FROM {table}"))?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let Some((client, n)) = self.place(&id) else {
                    found.altered += 1;
                    found.notes.push(format!("{table} has a row with the id {id:?}, which nobody sent"));
                    continue;
                };
                let (number, text, large): (Option<i64>, Option<String>, Option<i64>) =
                    (row.get(1)?, row.get(2)?, row.get(3)?);
                let whole = table != "fault" || is_as_sent((client, n), number, text.as_deref(), large);
                found.altered += u64::from(!whole);
                found.double += u64::from(!there[client].add(n));
            }
            Ok(())
        };
        if let Err(error) = read(found) {
            found.notes.push(format!("{table} cannot be read: {error}"));
        }
        for (client, numbers) in self.each() {
            let missing: Vec<u64> = numbers.into_iter().filter(|n| !there[client].has(*n)).collect();
            found.lost += missing.len() as u64;
            if let Some(first) = missing.first() {
                found.notes.push(format!("{table} lacks {} of client {client}, first {first}", missing.len()));
            }
        }
    }
}

/// Whether a row holds what event `n` of a client said.
pub fn is_as_sent((client, n): (usize, u64), number: Option<i64>, text: Option<&str>, large: Option<i64>) -> bool {
    number == i64::try_from(n).ok() && text == Some(said(client, n).as_str()) && large == Some(big(client, n))
}

/// Text that a careless hand would alter: quotes, backslashes, other scripts, a line break.
pub fn said(client: usize, n: u64) -> String {
    let scripts = ["naïve", "東京", "мир", "\u{1f600}", "a\"b\\c", "x\ny", "'); --", "\u{202e}z"];
    format!("{} {client}/{n} {}", scripts[(n % 8) as usize], "·".repeat((n % 40) as usize))
}

/// A number beyond what a double can hold.
fn big(client: usize, n: u64) -> i64 {
    9_007_199_254_740_993 + (n * 16 + client as u64) as i64 * 2
}
