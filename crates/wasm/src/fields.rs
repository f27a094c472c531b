//! The parsed events that a guest of the fields world reads and edits in place.
//!
//! Every edit is remembered with what was there before, so that a call that fails leaves the events as they were: the
//! batch can be halved and tried again.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_document::pointer;
use tidegate_event::digits::{self, Numbers};
use wasmtime::component::Resource;

use super::bindings::fields::tidegate::plugin::fields;
use super::call::{Guest, HostTrap};
use super::call_log::{NAME_BYTES_MAX, legible};

/// Paths that one instance may hold, and what they may take up together.
const PATHS_MAX: usize = 10_000;
const PATHS_BYTES_MAX: usize = 1 << 20;

/// What an edit costs beside the bytes that it writes, because it is remembered with its path: this, and this for each
/// step of the path.
const EDIT_BYTES: usize = 32;
const STEP_BYTES: usize = 8;

/// Levels of a path, and of a value that is set.
const DEPTH_MAX: usize = 64;

/// Levels of an event below the place that something is moved to: what setting a value could make of it, too.
const MOVED_DEPTH_MAX: usize = 2 * DEPTH_MAX;

/// A parsed JSON pointer; the guest's handle is its place in [`GuestPaths`].
pub struct GuestPath;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    Untouched,
    Edited,
    Dropped(String),
    /// Code and message.
    Failed(String, String),
}

/// The paths that an instance has made, by handle.
#[derive(Default)]
pub(super) struct GuestPaths {
    made: Vec<Option<Arc<[String]>>>,
    free: Vec<u32>,
    /// What they take up.
    bytes: usize,
}

impl GuestPaths {
    fn get(&self, path: &Resource<GuestPath>) -> wasmtime::Result<&Arc<[String]>> {
        self.made.get(path.rep() as usize).and_then(Option::as_ref).ok_or_else(|| HostTrap::Handle.into())
    }
}

/// The events of one call while the guest has them.
#[derive(Default)]
pub(super) struct Editing {
    events: Vec<Map<String, Value>>,
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

enum FieldEdit {
    /// What stood at the first `depth` steps of the path was `old`, or nothing did.
    Put { path: Arc<[String]>, depth: usize, old: Option<Value> },
    /// `old` stood at the path; where it was an element of a list, the later ones moved up.
    Taken { path: Arc<[String]>, old: Value, element: bool },
    /// The same, but it stands at `to` now, where `old` stood at the first `depth` steps.
    Moved { path: Arc<[String]>, element: bool, to: Arc<[String]>, depth: usize, old: Option<Value> },
}

impl Editing {
    pub(super) fn new(events: Vec<Map<String, Value>>, budget_bytes: usize, numbers: Numbers) -> Self {
        let marks = vec![Mark::Untouched; events.len()];
        Self { events, marks, budget_bytes, numbers, ..Self::default() }
    }

    /// How many events there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.events.len()).unwrap_or(u32::MAX)
    }

    /// The events as the guest left them, and what became of each. What failed is as it was.
    pub(super) fn finish(mut self) -> (Vec<Map<String, Value>>, Vec<Mark>) {
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
    pub(super) fn undone(mut self) -> Vec<Map<String, Value>> {
        while let Some(undo) = self.undo.pop() {
            let Some(event) = self.events.get_mut(undo.event) else { continue };
            undo.edit.undo(event);
        }
        self.events
    }

    fn event(&self, index: u32) -> wasmtime::Result<&Map<String, Value>> {
        let events = self.events.len();
        self.events.get(index as usize).ok_or_else(|| HostTrap::Index { index, events }.into())
    }

    fn find(&self, event: u32, path: &[String]) -> wasmtime::Result<Option<&Value>> {
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

    fn spend(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.budget_bytes = self.budget_bytes.checked_sub(bytes).ok_or(HostTrap::Written)?;
        Ok(())
    }

    /// Reads a value that the guest sets, with the digits of the event that it could not see: of what stands there now, or
    /// stood anywhere in the event before the guest's last edits, and of all else that the guest was `given`.
    fn read(
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

    fn set(&mut self, index: u32, path: Arc<[String]>, value: Value) -> wasmtime::Result<Result<(), String>> {
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

    fn move_to(
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

    fn remove(&mut self, index: u32, path: Arc<[String]>) -> wasmtime::Result<()> {
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

    fn mark(&mut self, index: u32, mark: Mark) -> wasmtime::Result<()> {
        self.event(index)?;
        self.marks[index as usize] = mark;
        Ok(())
    }
}

/// What an edit at `path` costs: it is remembered with its path, and names on the way may be written too.
fn edit_bytes(path: &[String]) -> usize {
    path.iter().fold(EDIT_BYTES, |bytes, step| bytes + STEP_BYTES + step.len())
}

/// What a path takes up, the places of its steps included.
fn path_bytes(path: &[String]) -> usize {
    path.iter().map(|step| step.len() + size_of::<String>()).sum()
}

fn inner<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(entries) => entries.get(step),
        Value::Array(items) => items.get(element(step)?),
        _ => None,
    }
}

fn inner_mut<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(entries) => entries.get_mut(step),
        Value::Array(items) => items.get_mut(element(step)?),
        _ => None,
    }
}

/// An index of an array, as RFC 6901 spells it.
fn element(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { step.parse().ok() } else { None }
}

/// Puts `value` at `path`; answers how many steps of the path lead to what was changed, and what was there; or why not,
/// and the value.
fn put(
    event: &mut Map<String, Value>,
    path: &[String],
    value: Value,
) -> Result<(usize, Option<Value>), (String, Value)> {
    let Some((first, rest)) = path.split_first() else {
        return Err(("the pointer names the whole event".to_owned(), value));
    };
    let Some(mut place) = event.get_mut(first) else {
        event.insert(first.clone(), wrapped(rest, value));
        return Ok((1, None));
    };
    for (depth, step) in rest.iter().enumerate() {
        match place {
            // A null holds nothing, so it may become an object.
            Value::Null => {
                let old = std::mem::replace(place, wrapped(&rest[depth..], value));
                return Ok((depth + 1, Some(old)));
            }
            Value::Object(entries) if !entries.contains_key(step) => {
                entries.insert(step.clone(), wrapped(&rest[depth + 1..], value));
                return Ok((depth + 2, None));
            }
            _ => {}
        }
        let kind = kind(place);
        place = match inner_mut(place, step) {
            Some(place) => place,
            None => {
                let at = path[..=depth].join("/");
                return Err((format!("{kind} stands at /{at}, which has no {step:?}"), value));
            }
        };
    }
    Ok((path.len(), Some(std::mem::replace(place, value))))
}

/// Whether `value` has more than `levels` of lists and objects within each other.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |value: &Value| levels == 0 || is_deeper(value, levels - 1);
    match value {
        Value::Object(entries) => levels == 0 || entries.values().any(inner),
        Value::Array(items) => levels == 0 || items.iter().any(inner),
        _ => false,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrapped(steps: &[String], value: Value) -> Value {
    steps.iter().rev().fold(value, |value, step| {
        let mut entries = Map::new();
        entries.insert(step.clone(), value);
        Value::Object(entries)
    })
}

/// Takes away what stands at `path`; answers whether it was an element of a list.
fn take(event: &mut Map<String, Value>, path: &[String]) -> Option<(Value, bool)> {
    let (last, above) = path.split_last()?;
    if above.is_empty() {
        return event.remove(last).map(|value| (value, false));
    }
    match find_mut(event, above)? {
        Value::Object(entries) => entries.remove(last).map(|value| (value, false)),
        Value::Array(items) => {
            let at = element(last).filter(|at| *at < items.len())?;
            Some((items.remove(at), true))
        }
        _ => None,
    }
}

impl FieldEdit {
    /// What stood where it changed something.
    const fn old(&self) -> Option<&Value> {
        match self {
            Self::Put { old, .. } | Self::Moved { old, .. } => old.as_ref(),
            Self::Taken { old, .. } => Some(old),
        }
    }

    /// Takes the edit back, if `event` is as it left it.
    fn undo(self, event: &mut Map<String, Value>) {
        match self {
            Self::Put { path, depth, old } => restore(event, &path[..depth], old, false),
            Self::Taken { path, old, element } => restore(event, &path, Some(old), element),
            Self::Moved { path, element, to, depth, old } => {
                let moved = find_mut(event, &to).map(std::mem::take);
                restore(event, &to[..depth], old, false);
                restore(event, &path, moved, element);
            }
        }
    }
}

fn find_mut<'a>(event: &'a mut Map<String, Value>, path: &[String]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(event.get_mut(first)?, |place, step| inner_mut(place, step))
}

/// Puts `old` at `path` again, or nothing; an `element` back between its neighbours.
fn restore(event: &mut Map<String, Value>, path: &[String], old: Option<Value>, element: bool) {
    let Some((last, above)) = path.split_last() else { return };
    if above.is_empty() {
        match old {
            Some(old) => drop(event.insert(last.clone(), old)),
            None => drop(event.remove(last)),
        }
        return;
    }
    match (find_mut(event, above), old) {
        (Some(Value::Object(entries)), Some(old)) => drop(entries.insert(last.clone(), old)),
        (Some(Value::Object(entries)), None) => drop(entries.remove(last)),
        (Some(Value::Array(items)), Some(old)) => match self::element(last) {
            Some(at) if element && at <= items.len() => items.insert(at, old),
            Some(at) if at < items.len() => items[at] = old,
            _ => {}
        },
        _ => {}
    }
}

impl fields::Host for Guest {
    fn drop_event(&mut self, event: u32, reason: String) -> wasmtime::Result<()> {
        self.editing.mark(event, Mark::Dropped(legible(&reason, NAME_BYTES_MAX)))
    }

    fn fail_event(&mut self, event: u32, code: String, message: String) -> wasmtime::Result<()> {
        self.editing.mark(event, Mark::Failed(legible(&code, NAME_BYTES_MAX), legible(&message, 1 << 10)))
    }
}

impl fields::HostPath for Guest {
    fn new(&mut self, json_pointer: String) -> wasmtime::Result<Resource<GuestPath>> {
        let paths = &mut self.paths;
        let Some(rest) = json_pointer.strip_prefix('/') else {
            return Err(HostTrap::Pointer(legible(&json_pointer, 80)).into());
        };
        let steps: Arc<[String]> = pointer::steps(rest).collect();
        if steps.len() > DEPTH_MAX {
            return Err(HostTrap::Pointer(legible(&json_pointer, 80)).into());
        }
        if paths.bytes + path_bytes(&steps) > PATHS_BYTES_MAX {
            return Err(HostTrap::PathsBytes(PATHS_BYTES_MAX).into());
        }
        paths.bytes += path_bytes(&steps);
        if let Some(rep) = paths.free.pop() {
            paths.made[rep as usize] = Some(steps);
            return Ok(Resource::new_own(rep));
        }
        if paths.made.len() >= PATHS_MAX {
            return Err(HostTrap::Paths(PATHS_MAX).into());
        }
        paths.made.push(Some(steps));
        Ok(Resource::new_own(u32::try_from(paths.made.len() - 1).unwrap_or(u32::MAX)))
    }

    fn get_string(&mut self, at: Resource<GuestPath>, event: u32) -> wasmtime::Result<Option<String>> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.and_then(Value::as_str).map(str::to_owned))
    }

    fn get_number(&mut self, at: Resource<GuestPath>, event: u32) -> wasmtime::Result<Option<f64>> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.and_then(Value::as_f64))
    }

    fn get_json(&mut self, at: Resource<GuestPath>, event: u32) -> wasmtime::Result<Option<String>> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.map(Value::to_string))
    }

    fn has(&mut self, at: Resource<GuestPath>, event: u32) -> wasmtime::Result<bool> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.is_some())
    }

    fn set_string(
        &mut self,
        at: Resource<GuestPath>,
        event: u32,
        value: String,
    ) -> wasmtime::Result<Result<(), String>> {
        self.editing.spend(value.len())?;
        self.editing.set(event, Arc::clone(self.paths.get(&at)?), Value::String(value))
    }

    fn set_json(&mut self, at: Resource<GuestPath>, event: u32, value: String) -> wasmtime::Result<Result<(), String>> {
        // A parsed value takes up several times its text.
        self.editing.spend(value.len().saturating_mul(8))?;
        let path = self.paths.get(&at)?;
        match self.editing.read(event, path, &value, &self.call_log.given)? {
            Ok(value) => self.editing.set(event, Arc::clone(path), value),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn move_to(
        &mut self,
        at: Resource<GuestPath>,
        event: u32,
        to: Resource<GuestPath>,
    ) -> wasmtime::Result<Result<bool, String>> {
        let (at, to) = (Arc::clone(self.paths.get(&at)?), Arc::clone(self.paths.get(&to)?));
        self.editing.move_to(event, at, to)
    }

    fn remove(&mut self, at: Resource<GuestPath>, event: u32) -> wasmtime::Result<()> {
        self.editing.remove(event, Arc::clone(self.paths.get(&at)?))
    }

    fn drop(&mut self, path: Resource<GuestPath>) -> wasmtime::Result<()> {
        if let Some(place) = self.paths.made.get_mut(path.rep() as usize)
            && let Some(steps) = place.take()
        {
            self.paths.bytes -= path_bytes(&steps);
            self.paths.free.push(path.rep());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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
    fn objects_on_the_way_are_made_and_scalars_stand_in_it() {
        let mut event = json!({"a": 1, "n": null}).as_object().unwrap().clone();
        put(&mut event, &path("/x/y/z"), json!(1)).unwrap();
        put(&mut event, &path("/n/m"), json!(2)).unwrap();
        assert_eq!(Value::Object(event.clone()), json!({"a": 1, "n": {"m": 2}, "x": {"y": {"z": 1}}}));
        let (refused, value) = put(&mut event, &path("/a/b"), json!(3)).unwrap_err();
        assert_eq!((refused.as_str(), value), ("a number stands at /a, which has no \"b\"", json!(3)));
    }

    #[test]
    fn what_is_moved_keeps_every_digit_and_what_cannot_be_moved_stays() {
        let before: Value = serde_json::from_str(r#"{"a": 1.2300, "list": [1, 2, 3], "text": "t"}"#).unwrap();
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
        let before = serde_json::from_str(r#"{"id": 9007199254740993, "small": 1}"#).unwrap();
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
