//! The parsed events that a guest of the fields world reads and edits in place.
//!
//! Every edit is remembered with what was there before, so that a call that fails leaves the events as they were: the
//! batch can be halved and tried again.

use std::sync::Arc;

use serde_json::{Map, Value};
use wasmtime::component::Resource;

use super::bindings::fields::tidegate::plugin::fields;
use super::call::{Guest, Halt};
use super::journal::{NAME_BYTES_MAX, legible};
use crate::event::json;

/// Paths that one instance may hold, and what they may take up together.
const PATHS_MAX: usize = 10_000;
const PATHS_BYTES_MAX: usize = 1 << 20;

/// What an edit costs beside the bytes that it writes, because it is remembered with its path: this, and this for each
/// step of the path.
const EDIT_BYTES: usize = 32;
const STEP_BYTES: usize = 8;

/// Levels of a path, and of a value that is set.
const DEPTH_MAX: usize = 64;

/// A parsed JSON pointer; the guest's handle is its place in [`Editing`].
pub struct Path;

/// The events of the call; there is one batch, so the handle says nothing.
pub struct Batch;

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
pub(super) struct Paths {
    made: Vec<Option<Arc<[String]>>>,
    free: Vec<u32>,
    /// What they take up.
    bytes: usize,
}

impl Paths {
    fn get(&self, path: &Resource<Path>) -> wasmtime::Result<&Arc<[String]>> {
        self.made.get(path.rep() as usize).and_then(Option::as_ref).ok_or_else(|| Halt::Handle.into())
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
}

/// What stood at the first `depth` steps of a path before an edit; `None` when nothing did.
struct Undo {
    event: usize,
    path: Arc<[String]>,
    depth: usize,
    old: Option<Value>,
    /// `old` was an element of an array and the later ones moved up.
    element: bool,
}

impl Editing {
    pub(super) fn new(events: Vec<Map<String, Value>>, budget_bytes: usize) -> Self {
        let marks = vec![Mark::Untouched; events.len()];
        Self { events, marks, budget_bytes, ..Self::default() }
    }

    /// The events as the guest left them, and what became of each. What failed is as it was.
    pub(super) fn finish(mut self) -> (Vec<Map<String, Value>>, Vec<Mark>) {
        if self.marks.iter().any(|mark| matches!(mark, Mark::Failed(..))) {
            for undo in std::mem::take(&mut self.undo).into_iter().rev() {
                if matches!(self.marks.get(undo.event), Some(Mark::Failed(..)))
                    && let Some(event) = self.events.get_mut(undo.event)
                {
                    restore(event, undo);
                }
            }
        }
        (self.events, self.marks)
    }

    /// The events as they were before the call.
    pub(super) fn undone(mut self) -> Vec<Map<String, Value>> {
        while let Some(undo) = self.undo.pop() {
            let Some(event) = self.events.get_mut(undo.event) else { continue };
            restore(event, undo);
        }
        self.events
    }

    fn event(&self, index: u32) -> wasmtime::Result<&Map<String, Value>> {
        let events = self.events.len();
        self.events.get(index as usize).ok_or_else(|| Halt::Index { index, events }.into())
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
        self.budget_bytes = self.budget_bytes.checked_sub(bytes).ok_or(Halt::Written)?;
        Ok(())
    }

    fn set(&mut self, index: u32, path: Arc<[String]>, value: Value) -> wasmtime::Result<Result<(), String>> {
        self.event(index)?;
        // Names on the way may be written too.
        self.spend(path.iter().fold(EDIT_BYTES, |bytes, step| bytes + STEP_BYTES + step.len()))?;
        let event = index as usize;
        match put(&mut self.events[event], &path, value) {
            Ok((depth, old)) => {
                self.undo.push(Undo { event, path, depth, old, element: false });
                self.edited(event);
                Ok(Ok(()))
            }
            Err(reason) => Ok(Err(reason)),
        }
    }

    fn edited(&mut self, event: usize) {
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

/// Puts `value` at `path`; answers how many steps of the path lead to what was changed, and what was there.
fn put(event: &mut Map<String, Value>, path: &[String], value: Value) -> Result<(usize, Option<Value>), String> {
    let Some((first, rest)) = path.split_first() else {
        return Err("the pointer names the whole event".to_owned());
    };
    if !event.contains_key(first) {
        event.insert(first.clone(), wrapped(rest, value));
        return Ok((1, None));
    }
    let Some(mut place) = event.get_mut(first) else { return Err("nothing is there".to_owned()) };
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
        place = inner_mut(place, step)
            .ok_or_else(|| format!("{kind} stands at /{}, which has no {step:?}", path[..=depth].join("/")))?;
    }
    Ok((path.len(), Some(std::mem::replace(place, value))))
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

/// Takes away what stands at `path`; answers whether it was an element of an array.
fn take(event: &mut Map<String, Value>, path: &[String]) -> Option<(Value, bool)> {
    let (last, above) = path.split_last()?;
    let Some((first, rest)) = above.split_first() else { return event.remove(last).map(|value| (value, false)) };
    let mut place = event.get_mut(first)?;
    for step in rest {
        place = inner_mut(place, step)?;
    }
    match place {
        Value::Object(entries) => entries.remove(last).map(|value| (value, false)),
        Value::Array(items) => {
            let at = element(last).filter(|at| *at < items.len())?;
            Some((items.remove(at), true))
        }
        _ => None,
    }
}

fn restore(event: &mut Map<String, Value>, undo: Undo) {
    let path = &undo.path[..undo.depth];
    let Some((last, above)) = path.split_last() else { return };
    let Some((first, rest)) = above.split_first() else {
        match undo.old {
            Some(old) => drop(event.insert(last.clone(), old)),
            None => drop(event.remove(last)),
        }
        return;
    };
    let mut place = event.get_mut(first);
    for step in rest {
        place = place.and_then(|place| inner_mut(place, step));
    }
    match (place, undo.old) {
        (Some(Value::Object(entries)), Some(old)) => drop(entries.insert(last.clone(), old)),
        (Some(Value::Object(entries)), None) => drop(entries.remove(last)),
        (Some(Value::Array(items)), Some(old)) => match element(last) {
            Some(at) if undo.element && at <= items.len() => items.insert(at, old),
            Some(at) if at < items.len() => items[at] = old,
            _ => {}
        },
        _ => {}
    }
}

impl fields::Host for Guest {}

impl fields::HostPath for Guest {
    fn new(&mut self, json_pointer: String) -> wasmtime::Result<Resource<Path>> {
        let paths = &mut self.paths;
        let Some(rest) = json_pointer.strip_prefix('/') else {
            return Err(Halt::Pointer(legible(&json_pointer, 80)).into());
        };
        let steps: Arc<[String]> = rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        if steps.len() > DEPTH_MAX {
            return Err(Halt::Pointer(legible(&json_pointer, 80)).into());
        }
        if paths.bytes + path_bytes(&steps) > PATHS_BYTES_MAX {
            return Err(Halt::PathsBytes(PATHS_BYTES_MAX).into());
        }
        paths.bytes += path_bytes(&steps);
        if let Some(rep) = paths.free.pop() {
            paths.made[rep as usize] = Some(steps);
            return Ok(Resource::new_own(rep));
        }
        if paths.made.len() >= PATHS_MAX {
            return Err(Halt::Paths(PATHS_MAX).into());
        }
        paths.made.push(Some(steps));
        Ok(Resource::new_own(u32::try_from(paths.made.len() - 1).unwrap_or(u32::MAX)))
    }

    fn drop(&mut self, path: Resource<Path>) -> wasmtime::Result<()> {
        if let Some(place) = self.paths.made.get_mut(path.rep() as usize)
            && let Some(steps) = place.take()
        {
            self.paths.bytes -= path_bytes(&steps);
            self.paths.free.push(path.rep());
        }
        Ok(())
    }
}

impl fields::HostBatch for Guest {
    fn len(&mut self, _: Resource<Batch>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.editing.events.len()).unwrap_or(u32::MAX))
    }

    fn get_string(&mut self, _: Resource<Batch>, event: u32, at: Resource<Path>) -> wasmtime::Result<Option<String>> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.and_then(Value::as_str).map(str::to_owned))
    }

    fn get_number(&mut self, _: Resource<Batch>, event: u32, at: Resource<Path>) -> wasmtime::Result<Option<f64>> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.and_then(Value::as_f64))
    }

    fn get_json(&mut self, _: Resource<Batch>, event: u32, at: Resource<Path>) -> wasmtime::Result<Option<String>> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.map(Value::to_string))
    }

    fn has(&mut self, _: Resource<Batch>, event: u32, at: Resource<Path>) -> wasmtime::Result<bool> {
        Ok(self.editing.find(event, self.paths.get(&at)?)?.is_some())
    }

    fn set_string(
        &mut self,
        _: Resource<Batch>,
        event: u32,
        at: Resource<Path>,
        value: String,
    ) -> wasmtime::Result<Result<(), String>> {
        self.editing.spend(value.len())?;
        self.editing.set(event, Arc::clone(self.paths.get(&at)?), Value::String(value))
    }

    fn set_json(
        &mut self,
        _: Resource<Batch>,
        event: u32,
        at: Resource<Path>,
        value: String,
    ) -> wasmtime::Result<Result<(), String>> {
        // A parsed value takes up several times its text.
        self.editing.spend(value.len().saturating_mul(8))?;
        match json::parse(value.as_bytes(), DEPTH_MAX) {
            Ok(value) => self.editing.set(event, Arc::clone(self.paths.get(&at)?), value),
            Err(flaw) => Ok(Err(flaw.to_string())),
        }
    }

    fn remove(&mut self, _: Resource<Batch>, event: u32, at: Resource<Path>) -> wasmtime::Result<()> {
        let path = Arc::clone(self.paths.get(&at)?);
        self.editing.event(event)?;
        let index = event as usize;
        if let Some((old, element)) = take(&mut self.editing.events[index], &path) {
            let depth = path.len();
            self.editing.undo.push(Undo { event: index, path, depth, old: Some(old), element });
            self.editing.edited(index);
        }
        Ok(())
    }

    fn drop_event(&mut self, _: Resource<Batch>, event: u32, reason: String) -> wasmtime::Result<()> {
        self.editing.mark(event, Mark::Dropped(legible(&reason, NAME_BYTES_MAX)))
    }

    fn fail_event(&mut self, _: Resource<Batch>, event: u32, code: String, message: String) -> wasmtime::Result<()> {
        self.editing.mark(event, Mark::Failed(legible(&code, NAME_BYTES_MAX), legible(&message, 1 << 10)))
    }

    fn drop(&mut self, _: Resource<Batch>) -> wasmtime::Result<()> {
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

    fn edit(editing: &mut Editing, op: (bool, u8, u8)) {
        let places = ["/a", "/a/b", "/a/b/c", "/a/0", "/l/0", "/l/1/x", "/n/x", "/new/deep/er", "/l"];
        let path = path(places[usize::from(op.1) % places.len()]);
        let event = &mut editing.events[0];
        if op.0 {
            let value = if op.2.is_multiple_of(3) { json!({"b": op.2}) } else { json!(op.2) };
            if let Ok((depth, old)) = put(event, &path, value) {
                editing.undo.push(Undo { event: 0, path, depth, old, element: false });
            }
        } else if let Some((old, element)) = take(event, &path) {
            let depth = path.len();
            editing.undo.push(Undo { event: 0, path, depth, old: Some(old), element });
        }
    }

    proptest! {
        #[test]
        fn undone_edits_leave_no_trace(ops: Vec<(bool, u8, u8)>) {
            let before = json!({"a": {"b": {"c": 1}}, "l": [1, {"x": 2}, 3], "n": null});
            let mut editing = Editing::new(vec![before.as_object().unwrap().clone()], 1000);
            for op in ops {
                edit(&mut editing, op);
            }
            prop_assert_eq!(&Value::Object(editing.undone().remove(0)), &before);
        }
    }

    #[test]
    fn objects_on_the_way_are_made_and_scalars_stand_in_it() {
        let mut event = json!({"a": 1, "n": null}).as_object().unwrap().clone();
        put(&mut event, &path("/x/y/z"), json!(1)).unwrap();
        put(&mut event, &path("/n/m"), json!(2)).unwrap();
        assert_eq!(Value::Object(event.clone()), json!({"a": 1, "n": {"m": 2}, "x": {"y": {"z": 1}}}));
        let refused = put(&mut event, &path("/a/b"), json!(3)).unwrap_err();
        assert_eq!(refused, "a number stands at /a, which has no \"b\"");
    }
}
