//! Turns at a file: the syncs of this process that write into one file do so one after another, in the order in which they came.
//!
//! SQLite lets whoever asks at the right moment go first. Where several syncs write all the time, one of them may be passed by for longer than
//! it waits, and is told that the database is locked. Other processes are still waited for as SQLite does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// The files that somebody in this process writes into, or waits for.
static FILES: Mutex<BTreeMap<PathBuf, Weak<FileTurns>>> = Mutex::new(BTreeMap::new());

/// Whose turn it is at one file.
#[derive(Debug, Default)]
struct FileTurns {
    tickets: Mutex<Tickets>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Tickets {
    /// What whoever comes next gets.
    next: u64,
    /// Who may write.
    called: u64,
}

/// A turn at a file, which ends when this is dropped. Who has one must not wait for another one at the same file.
#[derive(Debug)]
pub(super) struct WriteTurn(Arc<FileTurns>);

impl WriteTurn {
    /// Waits until all who came before have written.
    pub(super) fn at(path: &Path) -> Self {
        let turns = turns_at(path);
        let mut tickets = lock(&turns.tickets);
        let own = tickets.next;
        tickets.next += 1;
        while tickets.called != own {
            tickets = turns.called.wait(tickets).unwrap_or_else(PoisonError::into_inner);
        }
        drop(tickets);
        Self(turns)
    }
}

impl Drop for WriteTurn {
    fn drop(&mut self) {
        lock(&self.0.tickets).called += 1;
        self.0.called.notify_all();
    }
}

fn turns_at(path: &Path) -> Arc<FileTurns> {
    let place = place(path);
    let mut files = lock(&FILES);
    if let Some(known) = files.get(&place).and_then(Weak::upgrade) {
        return known;
    }
    files.retain(|_, turns| turns.strong_count() > 0);
    let turns = Arc::<FileTurns>::default();
    files.insert(place, Arc::downgrade(&turns));
    turns
}

/// The same for every way to write the path of a file, whether it is there yet or not.
fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let in_folder = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn turns_are_given_in_the_order_in_which_they_are_asked_for_and_files_do_not_hold_up_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.db");
        let first = WriteTurn::at(&path);
        // Another way to write the same, of a file that is there by now.
        std::fs::write(&path, b"").unwrap();
        let same = folder.path().join(".").join("w.db");
        let (told, turns) = mpsc::channel();
        std::thread::scope(|scope| {
            for number in 1..=3_u64 {
                let (told, same) = (told.clone(), &same);
                scope.spawn(move || {
                    let _turn = WriteTurn::at(same);
                    told.send(number).unwrap();
                });
                // It waits before the next one comes.
                let begun = Instant::now();
                while lock(&first.0.tickets).next != number + 1 {
                    assert!(begun.elapsed() < Duration::from_secs(30), "it never came");
                    std::thread::yield_now();
                }
            }
            drop(WriteTurn::at(&folder.path().join("other.db")));
            assert!(turns.try_recv().is_err(), "the first one writes still");
            drop(first);
        });
        assert_eq!(turns.try_iter().collect::<Vec<u64>>(), [1, 2, 3]);
        let known = lock(&FILES).get(&place(&path)).and_then(Weak::upgrade);
        assert!(known.is_none(), "nobody waits any more");
    }
}
