//! Killed in the middle of commits, again and again: the catalog is the old or the new, and the audit chain verifies.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_catalog::*;

use crate::CatalogTest;
use crate::rig::{KEY, PRODUCTION, sqlite_store};

/// Kills of the test that always runs.
const KILLS: usize = 10;
/// Kills of the long form.
const KILLS_LONG: usize = 100;

/// Objects that each change touches, so that half of one would show.
const OBJECTS: usize = 12;

fn opened(folder: &Path) -> CatalogTest {
    CatalogTest::open(sqlite_store(folder), InstanceKey::new(KEY).into()).unwrap()
}

/// The number that all objects have; what is between two changes fails.
fn number(test: &CatalogTest) -> u64 {
    let snapshot = test.snapshot();
    let numbers: Vec<u64> = snapshot.objects.iter().map(|object| object.content.spec["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), OBJECTS);
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    assert!(snapshot.objects.iter().all(|object| object.revision == snapshot.revision), "{snapshot:?}");
    numbers[0]
}

/// Not a test of its own: what is killed. It changes all objects at once and says which number is on disk.
#[test]
#[ignore = "it is run by the tests that kill it"]
fn commits_until_it_is_killed() {
    let test = opened(Path::new("."));
    let start = number(&test);
    println!("at {start}");
    for n in start + 1.. {
        let edits =
            test.snapshot().objects.iter().map(|object| test.respecified(&object.id, json!({ "n": n }))).collect();
        let change = CatalogChange::by_program(PRODUCTION, edits, test.tick());
        test.commit_change(&change).unwrap();
        println!("at {n}");
    }
}

fn child(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::commits_until_it_is_killed", "--ignored", "--nocapture"]);
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lets it commit a few times, kills it at some moment, and answers the last number that it has told.
fn killed(folder: &Path, round: usize) -> u64 {
    let mut child = child(folder);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut told, mut wanted) = (0, 3 + round % 4);
    let (mut last, mut takes) = (Instant::now(), Duration::ZERO);
    while wanted > 0 {
        let line = lines.next().unwrap().unwrap();
        if let Some(number) = line.strip_prefix("at ").or_else(|| line.split("... at ").nth(1)) {
            told = number.parse().unwrap();
            wanted -= 1;
            takes = last.elapsed();
            last = Instant::now();
        }
    }
    // The next change is under way by now. The moment goes through all of it, and a little further.
    let moment = takes * ((round * 37) % 130) as u32 / 100;
    while last.elapsed() < moment {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let rest = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("at ")?.parse().ok());
    rest.last().unwrap_or(told)
}

fn kill_again_and_again(kills: usize) {
    let folder = tempfile::tempdir().unwrap();
    let test = opened(folder.path());
    let edits = (0..OBJECTS).map(|n| test.create(ObjectKind::Source, &format!("s{n}"), json!({ "n": 0 }))).collect();
    test.commit(edits).unwrap();
    drop(test);
    let (mut before, mut untold) = (0, 0);
    for round in 0..kills {
        let told = killed(folder.path(), round);
        let test = opened(folder.path());
        let found = number(&test);
        assert!(found == told || found == told + 1, "told {told}, found {found}");
        assert!(found > before, "nothing was committed in round {round}");
        untold += usize::from(found > told);
        let verified = test.verified().unwrap();
        assert_eq!(verified.entries, (found + 1) * OBJECTS as u64, "each change has its entries, and no other has");
        assert_eq!(test.count("SELECT count(*) FROM version"), verified.entries as i64);
        before = found;
    }
    println!("{kills} kills, {before} changes; {untold} times the change was on disk and not told yet");
}

#[test]
fn a_kill_leaves_the_old_or_the_new_catalog() {
    kill_again_and_again(KILLS);
}

#[test]
#[ignore = "minutes; the long form of the test above"]
fn a_hundred_kills_leave_the_old_or_the_new_catalog() {
    kill_again_and_again(KILLS_LONG);
}
