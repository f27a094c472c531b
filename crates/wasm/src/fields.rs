//! What the host does when a guest of the fields world reads and edits events.

use std::sync::Arc;

use tidegate_event::value::Value;
use wasmtime::component::Resource;

use super::bindings::fields::tidegate::plugin::fields;
use super::editing::Mark;
use super::guest::Guest;
use super::guest_path::GuestPath;
use super::legible::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, legible};

impl fields::Host for Guest {
    fn drop_event(&mut self, event: u32, reason: String) -> wasmtime::Result<()> {
        self.editing.mark(event, Mark::Dropped(legible(&reason, NAME_BYTES_MAX)))
    }

    fn fail_event(&mut self, event: u32, code: String, message: String) -> wasmtime::Result<()> {
        self.editing.mark(event, Mark::Failed(legible(&code, NAME_BYTES_MAX), legible(&message, MESSAGE_BYTES_MAX)))
    }
}

impl fields::HostPath for Guest {
    fn new(&mut self, json_pointer: String) -> wasmtime::Result<Resource<GuestPath>> {
        self.paths.add(&json_pointer)
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
        self.editing.set(event, Arc::clone(self.paths.get(&at)?), value.into())
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
        self.paths.remove(&path);
        Ok(())
    }
}
