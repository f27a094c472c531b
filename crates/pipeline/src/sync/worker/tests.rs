//! Workers that end, and those that come after them.

use std::ops::Range;

use parking_lot::Mutex;
use tidegate_event::EventKind;
use tidegate_event::destination::Reply;
use tidegate_event::subject::SubjectKind;
use tidegate_state::{ClearSubject, ConsentSaid, FateQuery};
use tokio::time::timeout;

use super::*;
use crate::refine::tests::{EACH, Rig, run};
use crate::sync::{Mapping, Start, SyncFilter};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(50);
/// Longer than the deadline.
const HOUR: Duration = Duration::from_secs(3600);

/// How a far side answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    All,
    /// It takes the batch, and its ledger does not move.
    InPart,
    Never,
    Fails,
    /// It fails until it is well.
    Away,
}

/// What is at the far side, for all connections to it.
#[derive(Debug, Default)]
struct There {
    ledger: Option<u64>,
    /// Of each batch that was whole: its offsets, and its events.
    batches: Vec<(Range<u64>, Vec<u64>)>,
    asked: u64,
    is_well: bool,
}

struct FarSide {
    answers: Answers,
    there: Arc<Mutex<There>>,
    asked: watch::Sender<u64>,
}

impl FarSide {
    fn new(answers: Answers, there: &Arc<Mutex<There>>) -> Self {
        Self { answers, there: Arc::clone(there), asked: watch::Sender::new(0) }
    }

    async fn take(&self, batch: &Batch) -> Result<Delivery, Failure> {
        self.there.lock().asked += 1;
        self.asked.send_modify(|asked| *asked += 1);
        let is_well = self.there.lock().is_well;
        match self.answers {
            Answers::Never | Answers::InPart => std::future::pending().await,
            Answers::Away if !is_well => Err(Failure::Retry { reason: "away".to_owned(), cause: None }),
            Answers::Fails => Err(Failure::Retry { reason: "away".to_owned(), cause: None }),
            Answers::All | Answers::Away => {
                let mut there = self.there.lock();
                there.ledger = Some(batch.range.end);
                let events: Vec<u64> = batch.events.iter().map(|event| event.id.position.offset).collect();
                let delivered = events.len() as u64;
                there.batches.push((batch.range.clone(), events));
                Ok(Delivery { delivered, ..Delivery::default() })
            }
        }
    }
}

impl Destination for FarSide {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        let ledger = self.there.lock().ledger;
        Box::pin(async move { Ok(ledger) })
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.take(&batch).await })
    }

    fn holds_part(&self) -> bool {
        self.answers == Answers::InPart && *self.asked.borrow() > 0
    }
}

/// A worker over `rig` that takes events of these kinds alone.
fn worker(rig: &Rig, destination: Box<dyn Destination>, kinds: &[EventKind], in_hand: Option<GatheredBatch>) -> Worker {
    let sync = Sync {
        name: "sync".into(),
        source: "web".into(),
        filter: SyncFilter { kinds: kinds.to_vec(), ..SyncFilter::default() },
        mapping: Mapping::default(),
        start: Start::default(),
        settings: SyncSettings { retry_pause_min: HOUR, retry_pause_max: HOUR, ..SyncSettings::default() },
        destination,
    };
    Worker::open(sync, rig.handle.for_sync(), Arc::new(rig.log.clone()), rig.state(), in_hand)
}

/// Runs a worker until its far side is asked, then ends it.
async fn ended(rig: &Rig, far: FarSide, patience: Duration, in_hand: Option<GatheredBatch>) -> EndedWorker {
    let mut asked = far.asked.subscribe();
    let (order, stop) = watch::channel(StopOrder::Run);
    let mut task = worker(rig, Box::new(far), &[], in_hand).run(stop);
    timeout(DEADLINE, asked.wait_for(|asked| *asked > 0)).await.unwrap().unwrap();
    assert!(timeout(Duration::from_millis(5), &mut task).await.is_err(), "it ends without an order");
    order.send_replace(StopOrder::End { patience });
    timeout(DEADLINE, task).await.expect("it ends in time").unwrap()
}

/// Runs a worker until everything of the log is delivered.
async fn delivered(rig: &Rig, there: &Arc<Mutex<There>>, kinds: &[EventKind], in_hand: Option<GatheredBatch>) {
    let (order, stop) = watch::channel(StopOrder::Run);
    let worker = worker(rig, Box::new(FarSide::new(Answers::All, there)), kinds, in_hand);
    let mut cursor = worker.follow();
    let task = worker.run(stop);
    let end = rig.log.committed();
    timeout(DEADLINE, cursor.wait_for(|cursor| *cursor >= end)).await.unwrap().unwrap();
    order.send_replace(StopOrder::End { patience: HOUR });
    assert!(timeout(DEADLINE, task).await.unwrap().unwrap().in_hand.is_none());
}

#[test]
fn a_worker_whose_destination_never_answers_ends_in_its_patience_and_the_next_goes_on_from_the_ledger() {
    run(async {
        let (rig, there) = (Rig::with(3).await, Arc::default());
        let all = 3 * EACH as u64;
        Arc::<Mutex<There>>::clone(&there).lock().ledger = Some(EACH as u64);
        let ended = ended(&rig, FarSide::new(Answers::Never, &there), Duration::from_millis(20), None).await;
        assert!(ended.in_hand.is_none(), "nothing of it is there");
        // The far side that it was connected to is handed back.
        let mut destination = ended.destination;
        assert_eq!(destination.durable_to().await.unwrap(), Some(EACH as u64));
        delivered(&rig, &there, &[], None).await;
        let events: Vec<u64> = there.lock().batches.iter().flat_map(|(_, events)| events.clone()).collect();
        assert_eq!(events, (EACH as u64..all).collect::<Vec<_>>(), "each once, from the ledger on");
        assert_eq!(rig.state().cursor("sync").unwrap(), Some(all));
    });
}

#[test]
fn between_two_tries_nobody_waits_for_a_worker() {
    run(async {
        let (rig, there) = (Rig::with(1).await, Arc::default());
        let ended = ended(&rig, FarSide::new(Answers::Fails, &there), HOUR, None).await;
        assert!(ended.in_hand.is_none());
        assert_eq!(there.lock().asked, 1);
    });
}

#[test]
fn a_batch_that_may_be_there_in_part_comes_again_as_it_was_before_any_other() {
    run(async {
        let (rig, there) = (Rig::with(3).await, Arc::default());
        let cut = ended(&rig, FarSide::new(Answers::InPart, &there), Duration::ZERO, None).await;
        let in_hand = cut.in_hand.expect("a part of it may be there");
        let was: Vec<u64> = in_hand.batch.events.iter().map(|event| event.id.position.offset).collect();
        assert_eq!((was.first(), was.last()), (Some(&0), Some(&(in_hand.batch.range.end - 1))));
        // Handed on by one that does not come as far, and knows of no part.
        let cut = ended(&rig, FarSide::new(Answers::Never, &there), Duration::ZERO, Some(in_hand)).await;
        let in_hand = cut.in_hand.expect("it is handed on");
        // The sync takes other events by now.
        delivered(&rig, &there, &[EventKind::Page], Some(in_hand)).await;
        let there = there.lock();
        assert_eq!(there.batches[0], (0..was.len() as u64, was));
        assert!(there.batches[1..].iter().all(|(_, events)| events.is_empty()), "{:?}", there.batches);
        assert_eq!(there.ledger, Some(rig.log.committed()));
    });
}

#[test]
fn a_batch_in_hand_is_gathered_anew_where_the_ledger_went_back() {
    run(async {
        let (rig, there) = (Rig::with(3).await, Arc::<Mutex<There>>::default());
        there.lock().ledger = Some(2 * EACH as u64);
        let cut = ended(&rig, FarSide::new(Answers::InPart, &there), Duration::ZERO, None).await;
        there.lock().ledger = None;
        delivered(&rig, &there, &[], cut.in_hand).await;
        let events: Vec<u64> = there.lock().batches.iter().flat_map(|(_, events)| events.clone()).collect();
        assert_eq!(events, (0..rig.log.committed()).collect::<Vec<_>>());
    });
}

#[test]
fn whoever_withdraws_consent_while_a_batch_is_tried_again_is_not_in_it() {
    run(async {
        let (rig, there) = (Rig::with(1).await, Arc::<Mutex<There>>::default());
        for user in ["ann", "bob"] {
            let event = format!(r#"{{"type":"track","event":"E","messageId":"{user}","userId":"{user}"}}"#);
            rig.append_event(&event).await;
        }
        let far = FarSide::new(Answers::Away, &there);
        let mut asked = far.asked.subscribe();
        let consent = Consent { categories: vec!["Ads".to_owned()], without: true };
        let sync = Sync {
            name: "sync".into(),
            source: "web".into(),
            filter: SyncFilter { consent, ..SyncFilter::default() },
            mapping: Mapping::default(),
            start: Start::default(),
            settings: SyncSettings { retry_pause_min: Duration::from_millis(5), ..SyncSettings::default() },
            destination: Box::new(far),
        };
        let worker = Worker::open(sync, rig.handle.for_sync(), Arc::new(rig.log.clone()), rig.state(), None);
        let mut cursor = worker.follow();
        let (order, stop) = watch::channel(StopOrder::Run);
        let task = worker.run(stop);
        timeout(DEADLINE, asked.wait_for(|asked| *asked > 0)).await.unwrap().unwrap();
        let mut known = rig.state();
        let ann = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: "ann".to_owned() };
        let ann = known.hashed(&[ann]).unwrap();
        let denies = ConsentSaid { category: "Ads".to_owned(), is_granted: Some(false) };
        assert_eq!(known.say_of(&ann, &[denies], ("operator", 1)).unwrap(), Some(1));
        there.lock().is_well = true;
        let end = rig.log.committed();
        timeout(DEADLINE, cursor.wait_for(|cursor| *cursor >= end)).await.unwrap().unwrap();
        order.send_replace(StopOrder::End { patience: HOUR });
        assert!(timeout(DEADLINE, task).await.unwrap().unwrap().in_hand.is_none());
        let events: Vec<u64> = there.lock().batches.iter().flat_map(|(_, events)| events.clone()).collect();
        let all_but_ann: Vec<u64> = (0..end).filter(|offset| *offset != EACH as u64).collect();
        assert_eq!(events, all_but_ann);
    });
}

#[test]
fn a_sync_that_begins_at_a_ledger_of_an_earlier_life_leaves_no_gap_before_the_functions_of_its_source() {
    run(async {
        let (rig, there) = (Rig::with(3).await, Arc::<Mutex<There>>::default());
        let key = rig.go_through_a_function();
        there.lock().ledger = Some(2 * EACH as u64);
        // Its far side was away at first.
        rig.state().fail("sync", "away").unwrap();
        delivered(&rig, &there, &[], None).await;
        let events: Vec<u64> = there.lock().batches.iter().flat_map(|(_, events)| events.clone()).collect();
        assert_eq!(events, (2 * EACH as u64..3 * EACH as u64).collect::<Vec<_>>());
        // Whoever asks for what is before it gets what the function makes of that.
        assert_eq!(rig.state().function_chains().unwrap().1, [("web".to_owned(), 0, key)]);
        assert_eq!(rig.handle.handed_to("web"), rig.log.committed());
    });
}

#[test]
fn what_is_counted_of_whole_log_ranges_is_what_is_counted_event_by_event() {
    run(async {
        let mut found = Vec::new();
        // With all kinds in its filter it looks at each.
        for kinds in [&[][..], &EventKind::ALL] {
            let (rig, there) = (Rig::with(2).await, Arc::default());
            for event in [
                r#"{"type":"page","name":"Home","messageId":"a"}"#,
                r#"{"type":"track","event":"F","messageId":"b"}"#,
                r#"{"type":"track","event":"F","messageId":"b"}"#,
                r#"{"type":"track","event":7,"messageId":"c"}"#,
            ] {
                rig.append_event(event).await;
            }
            delivered(&rig, &there, kinds, None).await;
            let counts = |name: Option<&str>| {
                let query = FateQuery { name: name.map(str::to_owned), ..FateQuery::default() };
                let told = rig.state().conservation(&query).unwrap();
                assert!(told.holds(), "{told:?}");
                told.syncs[0].counts
            };
            let all = counts(None);
            assert_eq!((all.came, all.delivered), (2 * EACH as i64 + 2, 2 * EACH as i64 + 2));
            found.push([all, counts(Some("E")), counts(Some("F")), counts(Some("(page)"))]);
        }
        assert_eq!(found[0], found[1]);
    });
}
