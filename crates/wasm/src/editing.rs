//! The parsed events that a guest of the fields world reads and edits in place.
//!
//! Every edit is remembered with what was there before, so that a call that fails leaves the events as they were: the
//! batch can be halved and tried again.

use std::sync::Arc;

use tidegate_event::digits::{self, Numbers};
use tidegate_event::value::{JsonObject, Value};

use super::field_edit::{FieldEdit, inner, is_deeper, put, take};
use super::guest_path::DEPTH_MAX;
use super::host_trap::HostTrap;

/// What an edit costs beside the bytes that it writes, because it is remembered with its path: this, and this for each
/// step of the path.
const EDIT_BYTES: usize = 32;
const STEP_BYTES: usize = 8;

/// Levels of an event below the place that something is moved to: what setting a value could make of it, too.
const MOVED_DEPTH_MAX: usize = 2 * DEPTH_MAX;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    Untouched,
    Edited,
    Dropped(String),
    /// Code and message.
    Failed(String, String),
}

/// The events of one call while the guest has them.
#[derive(Default)]
pub(super) struct Editing {
    events: Vec<JsonObject>,
    marks: Vec<Mark>,
    undo: Vec<Undo>,
    /// Bytes that the guest may still write.
    budget_bytes: usize,
    numbers: Numbers,
}

/// How to take one edit back.
struct Undo {
    event: usize,
    edit: FieldEdit,
}

impl Editing {
    pub(super) fn new(events: Vec<JsonObject>, budget_bytes: usize, numbers: Numbers) -> Self {
        let marks = vec![Mark::Untouched; events.len()];
        Self { events, marks, budget_bytes, numbers, ..Self::default() }
    }

    /// How many events there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.events.len()).unwrap_or(u32::MAX)
    }

    /// The events as the guest left them, and what became of each. What failed is as it was.
    pub(super) fn finish(mut self) -> (Vec<JsonObject>, Vec<Mark>) {
        if self.marks.iter().any(|mark| matches!(mark, Mark::Failed(..))) {
            for undo in std::mem::take(&mut self.undo).into_iter().rev() {
                if matches!(self.marks.get(undo.event), Some(Mark::Failed(..)))
                    && let Some(event) = self.events.get_mut(undo.event)
                {
                    undo.edit.undo(event);
                }
            }
        }
        (self.events, self.marks)
    }

    /// The events as they were before the call.
    pub(super) fn undone(mut self) -> Vec<JsonObject> {
        while let Some(undo) = self.undo.pop() {
            let Some(event) = self.events.get_mut(undo.event) else { continue };
            undo.edit.undo(event);
        }
        self.events
    }

    fn event(&self, index: u32) -> wasmtime::Result<&JsonObject> {
        let events = self.events.len();
        self.events.get(index as usize).ok_or_else(|| HostTrap::Index { index, events }.into())
    }

    pub(super) fn find(&self, event: u32, path: &[String]) -> wasmtime::Result<Option<&Value>> {
        let event = self.event(event)?;
        let Some((first, rest)) = path.split_first() else { return Ok(None) };
        let Some(mut value) = event.get(first) else { return Ok(None) };
        for step in rest {
            value = match inner(value, step) {
                Some(value) => value,
                None => return Ok(None),
            };
        }
        Ok(Some(value))
    }

    pub(super) fn spend(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.budget_bytes = self.budget_bytes.checked_sub(bytes).ok_or(HostTrap::Written)?;
        Ok(())
    }

    /// Reads a value that the guest sets, with the digits of the event that it could not see: of what stands there now, or
    /// stood anywhere in the event before the guest's last edits, and of all else that the guest was `given`.
    pub(super) fn read(
        &self,
        index: u32,
        path: &[String],
        text: &str,
        given: &[Value],
    ) -> wasmtime::Result<Result<Value, String>> {
        let old = self.find(index, path)?;
        let of_event = self.undo.iter().rev().take_while(|undo| undo.event == index as usize);
        let before = of_event.filter_map(|undo| undo.edit.old());
        let known = self.event(index)?.values().chain(before).chain(given);
        Ok(digits::set(text, old, known, self.numbers, DEPTH_MAX).map_err(|error| {
            let there = text.get(error.at()..).unwrap_or_default();
            let is_infinite = there.starts_with("Infinity");
            if is_infinite { format!("{error}: Infinity, which is no number of the event") } else { error.to_string() }
        }))
    }

    pub(super) fn set(
        &mut self,
        index: u32,
        path: Arc<[String]>,
        value: Value,
    ) -> wasmtime::Result<Result<(), String>> {
        self.event(index)?;
        self.spend(edit_bytes(&path))?;
        let event = index as usize;
        match put(&mut self.events[event], &path, value) {
            Ok((depth, old)) => {
                self.edited(event, FieldEdit::Put { path, depth, old });
                Ok(Ok(()))
            }
            Err((reason, _)) => Ok(Err(reason)),
        }
    }

    pub(super) fn move_to(
        &mut self,
        index: u32,
        path: Arc<[String]>,
        to: Arc<[String]>,
    ) -> wasmtime::Result<Result<bool, String>> {
        self.event(index)?;
        let event = index as usize;
        let body = &mut self.events[event];
        let Some((value, element)) = take(body, &path) else { return Ok(Ok(false)) };
        let bytes = edit_bytes(&path) + edit_bytes(&to);
        let put = if self.budget_bytes < bytes {
            Err((None, value))
        } else if is_deeper(&value, MOVED_DEPTH_MAX - to.len()) {
            Err((Some("nested too deeply".to_owned()), value))
        } else {
            put(body, &to, value).map_err(|(reason, value)| (Some(reason), value))
        };
        match put {
            Ok((depth, old)) => {
                self.budget_bytes -= bytes;
                self.edited(event, FieldEdit::Moved { path, element, to, depth, old });
                Ok(Ok(true))
            }
            Err((reason, old)) => {
                FieldEdit::Taken { path, old, element }.undo(body);
                reason.map(Err).ok_or_else(|| HostTrap::Written.into())
            }
        }
    }

    pub(super) fn remove(&mut self, index: u32, path: Arc<[String]>) -> wasmtime::Result<()> {
        self.event(index)?;
        let event = index as usize;
        if let Some((old, element)) = take(&mut self.events[event], &path) {
            self.edited(event, FieldEdit::Taken { path, old, element });
        }
        Ok(())
    }

    fn edited(&mut self, event: usize, edit: FieldEdit) {
        self.undo.push(Undo { event, edit });
        // What failed or is dropped stays so, whatever is edited afterwards.
        if self.marks[event] == Mark::Untouched {
            self.marks[event] = Mark::Edited;
        }
    }

    pub(super) fn mark(&mut self, index: u32, mark: Mark) -> wasmtime::Result<()> {
        self.event(index)?;
        self.marks[index as usize] = mark;
        Ok(())
    }
}

/// What an edit at `path` costs: it is remembered with its path, and names on the way may be written too.
fn edit_bytes(path: &[String]) -> usize {
    path.iter().fold(EDIT_BYTES, |bytes, step| bytes + STEP_BYTES + step.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_event::json;

    use super::*;

    fn path(text: &str) -> Arc<[String]> {
        text[1..].split('/').map(str::to_owned).collect()
    }

    /// Sets, removes or moves something, as the numbers say.
    fn edit(editing: &mut Editing, (kind, at, what): (u8, u8, u8)) {
        let places = ["/a", "/a/b", "/a/b/c", "/a/0", "/l/0", "/l/1/x", "/n/x", "/new/deep/er", "/l"];
        let place = |number: u8| path(places[usize::from(number) % places.len()]);
        let value = || if what.is_multiple_of(3) { json!({"b": what}) } else { json!(what) };
        match kind % 3 {
            0 => drop(editing.set(0, place(at), value()).unwrap()),
            1 => editing.remove(0, place(at)).unwrap(),
            _ => drop(editing.move_to(0, place(at), place(what)).unwrap()),
        }
    }

    proptest! {
        #[test]
        fn undone_edits_leave_no_trace(ops: Vec<(u8, u8, u8)>) {
            let before = json!({"a": {"b": {"c": 1}}, "l": [1, {"x": 2}, 3], "n": null});
            let mut editing = Editing::new(vec![before.as_object().unwrap().clone()], 1 << 20, Numbers::Doubles);
            for op in ops {
                edit(&mut editing, op);
            }
            prop_assert_eq!(&Value::Object(editing.undone().remove(0)), &before);
        }
    }

    fn editing(event: &Value, budget_bytes: usize) -> Editing {
        Editing::new(vec![event.as_object().unwrap().clone()], budget_bytes, Numbers::Doubles)
    }

    #[test]
    fn what_is_moved_keeps_every_digit_and_what_cannot_be_moved_stays() {
        let before: Value = r#"{"a": 1.2300, "list": [1, 2, 3], "text": "t"}"#.parse().unwrap();
        let moved = |from: &str, to: &str| {
            let mut editing = editing(&before, 1 << 10);
            let answer = editing.move_to(0, path(from), path(to)).unwrap();
            (answer, Value::Object(editing.finish().0.remove(0)).to_string())
        };
        assert_eq!(moved("/a", "/b/c"), (Ok(true), r#"{"b":{"c":1.2300},"list":[1,2,3],"text":"t"}"#.to_owned()));
        assert_eq!(moved("/a", "/a/a").1, r#"{"a":{"a":1.2300},"list":[1,2,3],"text":"t"}"#);
        assert_eq!(moved("/list/0", "/text"), (Ok(true), r#"{"a":1.2300,"list":[2,3],"text":1}"#.to_owned()));
        assert_eq!(moved("/none", "/text"), (Ok(false), before.to_string()));
        let in_the_way = Err("text stands at /text, which has no \"x\"".to_owned());
        assert_eq!(moved("/list/0", "/text/x"), (in_the_way, before.to_string()));
        let mut poor = editing(&before, EDIT_BYTES);
        assert!(poor.move_to(0, path("/a"), path("/b")).is_err());
        assert_eq!(Value::Object(poor.finish().0.remove(0)), before);
    }

    #[test]
    fn what_is_read_and_set_elsewhere_keeps_the_digits_that_the_guest_could_not_see() {
        let before = r#"{"id": 9007199254740993, "small": 1}"#.parse().unwrap();
        let mut editing = editing(&before, 1 << 10);
        editing.remove(0, path("/id")).unwrap();
        let found = editing.read(0, &path("/order_id"), "9007199254740992", &[]).unwrap();
        assert_eq!(found.unwrap().to_string(), "9007199254740993");
        let refused = editing.read(0, &path("/small"), r#"{"n":Infinity}"#, &[]).unwrap().unwrap_err();
        assert_eq!(refused, "not JSON at byte 5: Infinity, which is no number of the event");
    }

    #[test]
    fn nothing_gets_deeper_by_being_moved_than_it_could_be_set() {
        let mut editing = editing(&json!({"a": 1}), usize::MAX);
        let wrap = |editing: &mut Editing| editing.move_to(0, path("/a"), path("/a/a/a/a/a/a/a/a")).unwrap();
        let done = (0..1_000).take_while(|_| wrap(&mut editing).is_ok()).count();
        assert_eq!(done, 18);
        assert_eq!(wrap(&mut editing), Err("nested too deeply".to_owned()));
    }
}
