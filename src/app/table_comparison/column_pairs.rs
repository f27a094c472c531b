//! Which columns of two tables are compared with one another.

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table_reader::ReadColumn;

use super::dialect::ForeignDialect;
use super::name_pairs;
use super::request::ComparisonRequest;

/// Times that each product takes from its own clock, or corrects by it.
const OF_SERVERS: [&str; 3] = ["received_at", "sent_at", "timestamp"];

/// Two columns that mean the same.
#[derive(Debug)]
pub(super) struct ColumnPair {
    pub(super) ours: ReadColumn,
    pub(super) theirs: ReadColumn,
    /// Instants are the same when less than this is between them, in microseconds.
    pub(super) within_us: u64,
    /// Whether it is the time by which rows belong to a day.
    pub(super) is_time: bool,
}

impl ColumnPair {
    /// Whether both have the same type, as far as the other side has it at all: lists are text there.
    pub(super) fn has_one_type(&self, dialect: Option<ForeignDialect>) -> bool {
        let kinds = (self.ours.kind, self.theirs.kind);
        kinds.0 == kinds.1
            || (dialect.is_some() && matches!(kinds, (Type::Json, Type::Text) | (Type::Text, Type::Json)))
    }
}

/// The columns of two tables.
#[derive(Debug)]
pub(super) struct ColumnPairs {
    pub(super) pairs: Vec<ColumnPair>,
    /// Columns that the other side has not, and should have.
    pub(super) only_ours: Vec<ReadColumn>,
    pub(super) only_theirs: Vec<ReadColumn>,
}

impl ColumnPairs {
    pub(super) fn between(ours: &[ReadColumn], theirs: &[ReadColumn], request: &ComparisonRequest) -> Self {
        let dialect = request.dialect;
        // Where rows are told apart by something else, each side has made ids of its own.
        let has_other_key = !request.key.eq_ignore_ascii_case("id");
        let is_asked = |column: &&ReadColumn| {
            let name = column.name.to_ascii_lowercase();
            !(request.ignored.contains(&name) || has_other_key && name == "id")
        };
        let is_expected_of_ours = |column: &&ReadColumn| dialect.is_none_or(|it| !it.is_only_ours(&column.name));
        let is_expected_of_theirs =
            |column: &&ReadColumn| dialect.is_none_or(|it| !it.is_only_theirs(&column.name.to_ascii_lowercase()));
        let ours: Vec<&ReadColumn> = ours.iter().filter(is_asked).filter(is_expected_of_ours).collect();
        let theirs: Vec<&ReadColumn> = theirs.iter().filter(is_asked).filter(is_expected_of_theirs).collect();
        let our_names: Vec<&str> = ours.iter().map(|column| column.name.as_str()).collect();
        let their_names: Vec<&str> = theirs.iter().map(|column| column.name.as_str()).collect();
        let paired = name_pairs::paired(&our_names, &their_names, dialect);
        let (only_ours, only_theirs) = name_pairs::unpaired(&paired, ours.len(), theirs.len());
        let pairs = paired.iter().map(|(our, their)| pair(ours[*our], theirs[*their], request)).collect();
        Self {
            pairs,
            only_ours: only_ours.into_iter().map(|at| ours[at].clone()).collect(),
            only_theirs: only_theirs.into_iter().map(|at| theirs[at].clone()).collect(),
        }
    }

    /// The columns to read on our side: those of pairs first.
    pub(super) fn ours(&self) -> Vec<ReadColumn> {
        self.pairs.iter().map(|pair| &pair.ours).chain(&self.only_ours).cloned().collect()
    }

    /// The same on theirs.
    pub(super) fn theirs(&self) -> Vec<ReadColumn> {
        self.pairs.iter().map(|pair| &pair.theirs).chain(&self.only_theirs).cloned().collect()
    }
}

fn pair(ours: &ReadColumn, theirs: &ReadColumn, request: &ComparisonRequest) -> ColumnPair {
    let name = ours.name.to_ascii_lowercase();
    let is_time = name.eq_ignore_ascii_case(&request.time);
    // What one side does not keep, it cannot have as the other has it.
    let digits = u32::from(ours.fraction_digits.min(theirs.fraction_digits).min(6));
    let unit_us = 10_u64.pow(6 - digits);
    let is_of_servers = is_time || OF_SERVERS.contains(&&*name);
    let tolerance_us = if is_of_servers { request.tolerance_us } else { 0 };
    ColumnPair {
        ours: ours.clone(),
        theirs: theirs.clone(),
        within_us: unit_us.max(tolerance_us.saturating_add(1)),
        is_time,
    }
}
