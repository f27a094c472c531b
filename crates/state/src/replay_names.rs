//! The names under which replays keep what is pending and what their destinations say: no sync has a dot in its name.

const MARK: &str = ".replay.";

/// What a replay is called at its destination and in the state: never twice, also where the numbers of jobs begin anew.
pub(super) fn name(sync: &str, id: u64, at_us: i64) -> String {
    format!("{sync}{MARK}{id}.{at_us}")
}

/// Whether something is kept under the name of a replay, in whatever partition.
pub(super) fn is_of_replay(name: &str) -> bool {
    name.contains(MARK)
}

/// The same in SQL, of the column `sync`.
pub(super) const IS_OF_REPLAY: &str = "instr(sync, '.replay.') > 0";
