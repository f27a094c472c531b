//! JSON values in the form that events have.
//!
//! `serde_json` keeps an object in a tree of maps, each with room for eleven entries. A track of 35 values takes 3.8 KB so,
//! and is freed node by node. Here an object is one vector that is sorted by its keys, texts of up to 15 bytes stand in
//! place, and a copy shares what it copies until one of the two is changed (`ecow`). Numbers keep every digit.
//!
//! The names are those of `serde_json`, whose values configuration and APIs still are; `From` leads to both sides.

use std::ops::{Index, IndexMut};

mod convert;
mod number;
mod object;
mod write;

pub use number::JsonNumber;
pub(crate) use number::is_spelled_whole;
pub use object::{JsonObject, ObjectEntry, ObjectFields};

/// A text or a key. Up to 15 bytes take no memory beside the value.
pub type Text = ecow::EcoString;

/// The items of an array.
pub type List = ecow::EcoVec<Value>;

/// Any JSON value; 24 bytes and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(JsonNumber),
    String(Text),
    Array(List),
    Object(JsonObject),
}

static NULL: Value = Value::Null;

impl Value {
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    #[must_use]
    pub fn as_number(&self) -> Option<&JsonNumber> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number().and_then(JsonNumber::as_i64)
    }

    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number().and_then(JsonNumber::as_u64)
    }

    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number().and_then(JsonNumber::as_f64)
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    #[must_use]
    pub fn as_array_mut(&mut self) -> Option<&mut List> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    #[must_use]
    pub fn as_object(&self) -> Option<&JsonObject> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    #[must_use]
    pub fn as_object_mut(&mut self) -> Option<&mut JsonObject> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    #[must_use]
    pub const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// The value under a key of an object, or at a place of an array.
    #[must_use]
    pub fn get(&self, place: impl ValuePlace) -> Option<&Self> {
        place.of(self)
    }

    /// The value under a key of an object, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.as_object_mut()?.get_mut(key)
    }
}

/// A key of an object, or a place in an array.
pub trait ValuePlace {
    /// What stands there.
    fn of(self, value: &Value) -> Option<&Value>;
}

impl<T: AsRef<str> + ?Sized> ValuePlace for &T {
    fn of(self, value: &Value) -> Option<&Value> {
        value.as_object()?.get(self.as_ref())
    }
}

impl ValuePlace for usize {
    fn of(self, value: &Value) -> Option<&Value> {
        value.as_array()?.get(self)
    }
}

/// `null` where nothing stands, so that a chain of names needs no questions.
impl Index<&str> for Value {
    type Output = Self;

    fn index(&self, key: &str) -> &Self {
        self.get(key).unwrap_or(&NULL)
    }
}

/// `null` where nothing stands.
impl Index<usize> for Value {
    type Output = Self;

    fn index(&self, at: usize) -> &Self {
        self.get(at).unwrap_or(&NULL)
    }
}

/// Makes room where nothing stands; what is no object becomes one.
impl IndexMut<&str> for Value {
    fn index_mut(&mut self, key: &str) -> &mut Self {
        if !self.is_object() {
            *self = Self::Object(JsonObject::new());
        }
        match self {
            Self::Object(object) => object.entry(key).or_insert_with(Self::default),
            other => other,
        }
    }
}

/// An event's value written as JSON, as `serde_json::json!` reads it: for tests.
#[macro_export]
macro_rules! json {
    ($($json:tt)+) => {
        $crate::value::Value::from($crate::value::serde_json::json!($($json)+))
    };
}

#[doc(hidden)]
pub use serde_json;

#[cfg(test)]
mod tests;
