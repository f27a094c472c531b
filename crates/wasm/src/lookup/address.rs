//! Records by IP address, from a MaxMind database that the owner of the workspace brings.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use maxminddb::{MaxMindDbError, PathElement, Reader};
use serde_json::{Map, Value};

use super::Field;
use super::record::MaxMindRecord;

pub(super) struct Addresses {
    reader: Reader<Vec<u8>>,
    fields: Vec<Field>,
}

impl Addresses {
    pub(super) fn open(bytes: Vec<u8>, fields: Vec<Field>) -> Result<Self, String> {
        let len = bytes.len();
        // The reader walks the tree before anybody could say that the file is too short for it.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| Reader::from_source(bytes)));
        let reader = match opened {
            Ok(Ok(reader)) => reader,
            Ok(Err(error)) => return Err(format!("this is no MaxMind database: {error}")),
            Err(_panic) => return Err("the MaxMind database is damaged".to_owned()),
        };
        let tree = u64::from(reader.metadata.node_count) * u64::from(reader.metadata.record_size) / 4;
        if tree + 16 > len as u64 {
            return Err("the MaxMind database is cut off; download it again".to_owned());
        }
        Ok(Self { reader, fields })
    }

    /// The record of the network that `key` lies in. A key that is no address has none.
    pub(super) fn get(&self, key: &str) -> Result<Option<String>, String> {
        let Ok(address) = key.trim().parse::<IpAddr>() else { return Ok(None) };
        let address = address.to_canonical();
        if address.is_ipv6() && self.reader.metadata.ip_version == 4 {
            return Ok(None);
        }
        let damaged = |error: MaxMindDbError| format!("the record of {address} cannot be read: {error}");
        let found = self.reader.lookup(address).map_err(damaged)?;
        if self.fields.is_empty() {
            return Ok(found.decode::<MaxMindRecord>().map_err(damaged)?.map(|record| record.0.to_string()));
        }
        if !found.has_data() {
            return Ok(None);
        }
        let mut kept = Map::new();
        for field in &self.fields {
            let path: Vec<PathElement<'_>> = field.0.iter().map(|step| element(step)).collect();
            match found.decode_path::<MaxMindRecord>(&path) {
                Ok(Some(value)) => put(&mut kept, &field.0, value.0),
                // A record of another shape has no such field.
                Ok(None) | Err(MaxMindDbError::Decoding { path: Some(_), .. }) => {}
                Err(error) => return Err(damaged(error)),
            }
        }
        Ok(Some(Value::Object(kept).to_string()))
    }
}

/// A step that is a number is an element of a list: no record that people use has numbers for keys.
fn element(step: &str) -> PathElement<'_> {
    step.parse().map_or(PathElement::Key(step), PathElement::Index)
}

/// Puts `value` where the field was, so that a plugin reads a record and a part of it alike. Elements of lists become
/// lists of their own, with null before them.
fn put(kept: &mut Map<String, Value>, steps: &[String], value: Value) {
    let Some((first, rest)) = steps.split_first() else { return };
    let mut place = kept.entry(first.clone()).or_insert(Value::Null);
    for step in rest {
        place = match step.parse::<usize>() {
            Ok(at) if at < 64 => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let Value::Array(items) = place else { return };
                if items.len() <= at {
                    items.resize(at + 1, Value::Null);
                }
                &mut items[at]
            }
            _ => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                let Value::Object(entries) = place else { return };
                entries.entry(step.clone()).or_insert(Value::Null)
            }
        };
    }
    *place = value;
}
