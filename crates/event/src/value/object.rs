use std::ops::Index;

use ecow::EcoVec;

use super::{Text, Value};

/// The fields of a JSON object, sorted by the bytes of their keys; no key stands twice. 16 bytes and its fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonObject(EcoVec<(Text, Value)>);

/// Up to so many fields are looked through one by one.
const SCANNED_MAX: usize = 20;

impl JsonObject {
    #[must_use]
    pub const fn new() -> Self {
        Self(EcoVec::new())
    }

    /// An object of `fields` in any order; `None` when a key stands twice. The vector is empty afterwards, from `start` on.
    pub(crate) fn of_fields(fields: &mut Vec<(Text, Value)>, start: usize) -> Option<Self> {
        let own = &mut fields[start..];
        own.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let is_double = own.windows(2).any(|pair| pair[0].0 == pair[1].0);
        let mut sorted = EcoVec::with_capacity(own.len());
        for field in fields.drain(start..) {
            sorted.push(field);
        }
        (!is_double).then_some(Self(sorted))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where `key` stands, or where it would.
    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.as_str().cmp(key))
    }

    /// Where `key` stands.
    fn find(&self, key: &str) -> Option<usize> {
        // Most keys of a small object differ in length, which is compared sooner than texts are ordered.
        if self.0.len() <= SCANNED_MAX {
            return self.0.iter().position(|(own, _)| own.as_str() == key);
        }
        self.place(key).ok()
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.find(key).map(|at| &self.0[at].1)
    }

    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.find(key).map(|at| &mut self.0.make_mut()[at].1)
    }

    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Puts `value` under `key`; answers what stood there.
    pub fn insert(&mut self, key: impl Into<Text>, value: Value) -> Option<Value> {
        let key = key.into();
        match self.place(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0.make_mut()[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes away what stands under `key`.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.find(key).map(|at| self.0.remove(at).1)
    }

    /// What stands under `key`, with room for it where nothing does.
    pub fn entry(&mut self, key: impl Into<Text>) -> ObjectEntry<'_> {
        let key = key.into();
        let place = self.place(&key);
        ObjectEntry { object: self, key, place }
    }

    /// Keeps the fields that `keep` says so of.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }

    /// The fields, in the order of their keys.
    pub fn iter(&self) -> ObjectFields<'_> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn iter_mut(&mut self) -> ObjectFieldsMut<'_> {
        self.0.make_mut().iter_mut().map(|(key, value)| (&*key, value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Text> {
        self.0.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> + Clone {
        self.0.iter().map(|(_, value)| value)
    }
}

/// The place of one key.
pub struct ObjectEntry<'a> {
    object: &'a mut JsonObject,
    key: Text,
    place: Result<usize, usize>,
}

impl<'a> ObjectEntry<'a> {
    /// What stands there; where nothing does, what `make` makes.
    pub fn or_insert_with(self, make: impl FnOnce() -> Value) -> &'a mut Value {
        let at = self.place.unwrap_or_else(|at| {
            self.object.0.insert(at, (self.key, make()));
            at
        });
        &mut self.object.0.make_mut()[at].1
    }
}

type FieldOf = for<'a> fn(&'a (Text, Value)) -> (&'a Text, &'a Value);
type FieldOfMut = for<'a> fn(&'a mut (Text, Value)) -> (&'a Text, &'a mut Value);

/// The fields of an object, in the order of their keys.
pub type ObjectFields<'a> = std::iter::Map<std::slice::Iter<'a, (Text, Value)>, FieldOf>;

/// The fields of an object, their values to be changed.
pub type ObjectFieldsMut<'a> = std::iter::Map<std::slice::IterMut<'a, (Text, Value)>, FieldOfMut>;

impl<'a> IntoIterator for &'a JsonObject {
    type Item = (&'a Text, &'a Value);
    type IntoIter = ObjectFields<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut JsonObject {
    type Item = (&'a Text, &'a mut Value);
    type IntoIter = ObjectFieldsMut<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl IntoIterator for JsonObject {
    type Item = (Text, Value);
    type IntoIter = ecow::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The last of several values under one key wins.
impl<K: Into<Text>> FromIterator<(K, Value)> for JsonObject {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(fields: I) -> Self {
        let mut object = Self::new();
        object.extend(fields);
        object
    }
}

impl<K: Into<Text>> Extend<(K, Value)> for JsonObject {
    fn extend<I: IntoIterator<Item = (K, Value)>>(&mut self, fields: I) {
        for (key, value) in fields {
            self.insert(key, value);
        }
    }
}

impl Index<&str> for JsonObject {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&super::NULL)
    }
}
