//! Asks the tools behind destination plugins to delete people, for a job that forgets them.
//!
//! A step asks one tool about some people, and what came of it is kept before the next one: whoever is killed asks about those once more, which
//! harms nobody. A tool that does not answer is asked again with growing pauses, while others go on; after a few tries by which nothing came any
//! further it is given up, and the job says so. A reason that a tool gives is kept where it names nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_api_types::privacy::ForgottenInTool;
use tidegate_delivery::{ActiveRuntime, AskedDeletion, DestinationRuntime};
use tidegate_event::subject::SubjectKind;
use tidegate_state::{ClearSubject, SubjectSet};

use super::active_runtimes::ActiveRuntimes;

/// People that a tool is asked about in one step.
const PEOPLE_MAX: usize = 50;
/// Tries in a row by which nothing comes any further.
const TRIES_MAX: u32 = 8;
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Between two looks for a version that is live.
const VACANT_PAUSE: Duration = Duration::from_secs(10);
const REASON_CHARS_MAX: usize = 500;

const WAITS: &str = "waits";
const ASKED: &str = "asked";
const FAILED: &str = "failed";
const NOT_POSSIBLE: &str = "not-possible";
const WOULD_ASK: &str = "would-ask";

const NO_EXPORT: &str = "its plugin has no export `forget`: delete them in the tool by hand, or by its API";
const NOT_KEPT: &str = "the ids are not known in clear any more: give the order to forget once more";
const ONLY_DIGESTS: &str =
    "of some only the digest is known, by which no tool knows anybody: give the order once more with the values";

/// Whom a job is about: in clear, and as texts are held against them.
#[derive(Clone, Copy)]
pub(super) struct PeopleToDelete<'a> {
    pub(super) people: &'a [ClearSubject],
    pub(super) subjects: &'a SubjectSet,
}

/// Asks tools.
pub(super) struct ToolDeletions {
    runtimes: Arc<ActiveRuntimes>,
    /// When a tool that failed is asked again.
    paused: HashMap<String, Instant>,
}

impl ToolDeletions {
    pub(super) fn new(runtimes: Arc<ActiveRuntimes>) -> Self {
        Self { runtimes, paused: HashMap::new() }
    }

    /// The tools to ask about `people`.
    pub(super) fn begun(&self, people: &[ClearSubject]) -> Vec<ForgottenInTool> {
        let numbered = (0_u32..).zip(people);
        let waiting: Vec<u32> = numbered.filter(|(_, person)| !person.is_hashed()).map(|(number, _)| number).collect();
        let digests = people.len().saturating_sub(waiting.len()) as u64;
        let tool = |destination| {
            let mut tool = ForgottenInTool { destination, state: WAITS.to_owned(), ..ForgottenInTool::default() };
            if people.is_empty() {
                (tool.state, tool.reason) = (FAILED.to_owned(), Some(NOT_KEPT.to_owned()));
                return tool;
            }
            (tool.waiting, tool.left_out) = (waiting.clone(), digests);
            tool.reason = (digests > 0).then(|| ONLY_DIGESTS.to_owned());
            end(&mut tool);
            tool
        };
        self.runtimes.all().into_iter().map(|(name, _)| tool(name)).collect()
    }

    /// What would be asked about so many subjects.
    pub(super) fn tried(&self, subjects: u64) -> Vec<ForgottenInTool> {
        let tool = |(destination, active): (String, Arc<ActiveRuntime>)| {
            let (state, asked, reason) = match active.current() {
                Ok(runtime) if runtime.can_forget() => (WOULD_ASK, subjects, None),
                Ok(_) => (NOT_POSSIBLE, 0, Some(NO_EXPORT.to_owned())),
                Err(reason) => (NOT_POSSIBLE, 0, Some(reason)),
            };
            ForgottenInTool { destination, state: state.to_owned(), asked, reason, ..ForgottenInTool::default() }
        };
        self.runtimes.all().into_iter().map(tool).collect()
    }

    /// The place of a tool among `tools` that may be asked now; nothing is left to be asked when all have ended.
    pub(super) fn due(&self, tools: &[ForgottenInTool]) -> Option<usize> {
        let now = Instant::now();
        let is_due = |tool: &ForgottenInTool| {
            tool.state == WAITS && self.paused.get(&tool.destination).is_none_or(|until| *until <= now)
        };
        tools.iter().position(is_due)
    }

    /// Asks one tool about some of those that wait.
    pub(super) async fn ask(&mut self, tool: &mut ForgottenInTool, asked: PeopleToDelete<'_>) {
        let runtime = match self.runtimes.of(&tool.destination).current() {
            Ok(runtime) => runtime,
            Err(reason) => return self.again(tool, (VACANT_PAUSE, reason)),
        };
        if !runtime.can_forget() {
            tool.left_out += tool.waiting.len() as u64;
            tool.waiting.clear();
            (tool.state, tool.reason) = (NOT_POSSIBLE.to_owned(), Some(NO_EXPORT.to_owned()));
            return;
        }
        self.ask_runtime(&runtime, tool, asked).await;
    }

    async fn ask_runtime(
        &mut self,
        runtime: &DestinationRuntime,
        tool: &mut ForgottenInTool,
        asked: PeopleToDelete<'_>,
    ) {
        let numbered = |number: &u32| {
            let place = usize::try_from(*number).ok()?;
            Some((*number, person(asked.people.get(place)?)))
        };
        let chunk: Vec<(u32, String)> = tool.waiting.iter().filter_map(numbered).take(PEOPLE_MAX).collect();
        if chunk.is_empty() {
            // Those that wait were not kept.
            tool.failed += tool.waiting.len() as u64;
            tool.waiting.clear();
            tool.reason = Some(NOT_KEPT.to_owned());
            return end(tool);
        }
        let people: Vec<String> = chunk.iter().map(|(_, person)| person.clone()).collect();
        let outcomes = match runtime.forget(people, tool.tries).await {
            Ok(outcomes) => outcomes,
            Err(error) => return self.again(tool, (PAUSE_MAX, told(&error.to_string(), asked))),
        };
        let mut again: Option<(Duration, String)> = None;
        let waited = tool.waiting.len();
        for ((number, _), outcome) in chunk.iter().zip(outcomes) {
            match outcome {
                AskedDeletion::Taken => tool.asked += 1,
                AskedDeletion::LeftOut => tool.left_out += 1,
                AskedDeletion::Refused(reason) => {
                    tool.failed += 1;
                    tool.reason = Some(told(&reason, asked));
                }
                AskedDeletion::Again(pause, reason) => {
                    let longest = again.as_ref().map_or(Duration::ZERO, |(longest, _)| *longest);
                    again = Some((pause.max(longest), told(&reason, asked)));
                    continue;
                }
            }
            tool.waiting.retain(|waiting| waiting != number);
        }
        if tool.waiting.len() < waited {
            tool.tries = 0;
        }
        match again {
            Some(again) => self.again(tool, again),
            None => end(tool),
        }
    }

    /// A try by which some came no further.
    fn again(&mut self, tool: &mut ForgottenInTool, (pause, reason): (Duration, String)) {
        tool.tries += 1;
        tool.reason = Some(reason);
        if tool.tries >= TRIES_MAX {
            tool.failed += tool.waiting.len() as u64;
            tool.waiting.clear();
        } else {
            self.paused.insert(tool.destination.clone(), Instant::now() + pause.min(PAUSE_MAX));
        }
        end(tool);
    }
}

/// Whether any tool has to be asked yet.
pub(super) fn any_waits(tools: &[ForgottenInTool]) -> bool {
    tools.iter().any(|tool| tool.state == WAITS)
}

/// What it comes to, once nobody waits any more.
fn end(tool: &mut ForgottenInTool) {
    if !tool.waiting.is_empty() {
        return;
    }
    // What a try had failed at came right in the end.
    if tool.failed == 0 {
        tool.tries = 0;
        tool.reason = tool.reason.take().filter(|reason| reason == ONLY_DIGESTS);
    }
    let state = match (tool.failed, tool.asked) {
        (0, 0) => NOT_POSSIBLE,
        (0, _) => ASKED,
        _ => FAILED,
    };
    state.clone_into(&mut tool.state);
    if state == NOT_POSSIBLE && tool.reason.is_none() {
        let reason =
            "the plugin left all of them out: its tool deletes nobody by such an id, or its settings do not ask for it";
        tool.reason = Some(reason.to_owned());
    }
}

/// A person as the export `forget` is given one.
fn person(subject: &ClearSubject) -> String {
    let ClearSubject { kind, trait_name, value } = subject;
    let person = match kind {
        SubjectKind::User => json!({ "type": "forget", "userId": value }),
        SubjectKind::Anonymous => json!({ "type": "forget", "anonymousId": value }),
        SubjectKind::Group => json!({ "type": "forget", "groupId": value }),
        SubjectKind::Trait => json!({ "type": "forget", "traits": { trait_name.as_str(): value.trim() } }),
    };
    person.to_string()
}

/// A reason, where it names nobody: it is kept for as long as the job.
fn told(reason: &str, asked: PeopleToDelete<'_>) -> String {
    let small = reason.to_lowercase();
    let names = |person: &ClearSubject| {
        let value = person.value.trim().to_lowercase();
        let in_url: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        // In a path a space is no plus.
        let in_url = in_url.to_lowercase();
        let in_path = in_url.replace('+', "%20");
        let in_json = json!(value).to_string();
        let in_json = in_json.trim_matches('"');
        [value.as_str(), in_url.as_str(), in_path.as_str(), in_json].iter().any(|text| small.contains(*text))
    };
    if asked.people.iter().any(names) || asked.subjects.stands_in(reason.as_bytes()) {
        return "the tool refused it, in words that are not kept because they name somebody".to_owned();
    }
    reason.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: SubjectKind, trait_name: &str, value: &str) -> ClearSubject {
        ClearSubject { kind, trait_name: trait_name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_person_has_the_shape_of_an_event() {
        let shaped = |subject: &ClearSubject| -> serde_json::Value { serde_json::from_str(&person(subject)).unwrap() };
        let user = shaped(&subject(SubjectKind::User, "", "a\"b"));
        assert_eq!(user, json!({"type": "forget", "userId": "a\"b"}));
        let by_trait = shaped(&subject(SubjectKind::Trait, "email", " Ann@example.com "));
        assert_eq!(by_trait, json!({"type": "forget", "traits": {"email": "Ann@example.com"}}));
    }

    #[test]
    fn a_reason_that_names_somebody_is_not_kept() {
        let people = [
            subject(SubjectKind::Trait, "email", "Ann@example.com"),
            subject(SubjectKind::User, "", "u/1"),
            subject(SubjectKind::User, "", "Ann B"),
        ];
        let asked = PeopleToDelete { people: &people, subjects: &SubjectSet::default() };
        let said = ["no ann@example.com here", "GET /users/ann%40EXAMPLE.com", "user u/1", "user u%2F1"];
        for reason in said.into_iter().chain(["GET /users/Ann%20B?x=1", "?user=ann+b"]) {
            assert!(told(reason, asked).contains("not kept"), "{reason}");
        }
        assert_eq!(told("status 503: worth another try", asked), "status 503: worth another try");
    }

    #[test]
    fn a_tool_ends_as_what_came_of_all_of_them() {
        let ended = |asked, left_out, failed| {
            let mut tool = ForgottenInTool { asked, left_out, failed, ..ForgottenInTool::default() };
            end(&mut tool);
            tool.state
        };
        assert_eq!(ended(2, 1, 0), ASKED);
        assert_eq!(ended(2, 0, 1), FAILED);
        assert_eq!(ended(0, 3, 0), NOT_POSSIBLE);
        let told = |failed, reason: &str| {
            let reason = Some(reason.to_owned());
            let mut tool = ForgottenInTool { asked: 1, failed, reason, tries: 3, ..ForgottenInTool::default() };
            end(&mut tool);
            tool.reason
        };
        assert_eq!(told(0, "status 503"), None, "it was asked in the end");
        assert_eq!(told(0, ONLY_DIGESTS).as_deref(), Some(ONLY_DIGESTS));
        assert_eq!(told(1, "status 422").as_deref(), Some("status 422"));
    }
}
