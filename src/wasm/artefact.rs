//! Compiled code as bytes: made by a process that may die of it, sealed, and loaded by one that has no compiler.
//!
//! Loading code is as dangerous as running it: whoever can make the loader take bytes of their own owns the process. So
//! [`Code`] is the only thing that is loaded, and it comes only of bytes whose seal (a MAC over everything, with a key
//! that never leaves the store) was verified in this process.

use std::hash::{DefaultHasher, Hash, Hasher};

use hmac::digest::{Key, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmtime::component::Component;

use super::engine::{Engine, EngineError, compiling};
use super::module::{LoadError, Module, World, apart, compile_failed, readable};

/// Stands first in an artefact; the last byte is the format.
const MAGIC: [u8; 8] = *b"tdgtart\x01";
const SHA_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + SHA_BYTES + 8 + MAC_BYTES;

/// Seals artefacts and tells its own seals from others. Never printed.
#[derive(Clone)]
pub struct Seal([u8; 32]);

/// What an artefact was compiled of and by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The sha-256 of the component.
    pub component: [u8; SHA_BYTES],
    /// [`compiler_id`] of the compiling engine.
    pub compiler: u64,
}

/// Why an artefact is not loaded. Always a reason to compile again, never one to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is cut short")]
    Short,
    #[error("it is of another format")]
    Format,
    #[error("its seal is not ours: it was changed, or made by another installation")]
    Seal,
    #[error("it is the code of another component")]
    Component,
    #[error("it was compiled by another version of the engine, or for another processor")]
    Compiler,
}

/// Compiled code whose seal was verified.
pub struct Code<'a>(&'a [u8]);

impl Seal {
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// `code` as an artefact.
    #[must_use]
    pub fn seal(&self, origin: Origin, code: &[u8]) -> Vec<u8> {
        let mut artefact = Vec::with_capacity(HEADER_BYTES + code.len());
        artefact.extend_from_slice(&MAGIC);
        artefact.extend_from_slice(&origin.component);
        artefact.extend_from_slice(&origin.compiler.to_le_bytes());
        let mac = self.mac(&artefact, code).finalize().into_bytes();
        artefact.extend_from_slice(&mac);
        artefact.extend_from_slice(code);
        artefact
    }

    /// The code in `artefact`, if it is sealed by us and of this origin.
    ///
    /// # Errors
    /// Why it must be compiled again.
    pub fn open<'a>(&self, artefact: &'a [u8], origin: Origin) -> Result<Code<'a>, Flaw> {
        let (header, code) = artefact.split_at_checked(HEADER_BYTES).ok_or(Flaw::Short)?;
        let (sealed, mac) = header.split_at_checked(HEADER_BYTES - MAC_BYTES).ok_or(Flaw::Short)?;
        let (magic, rest) = sealed.split_at_checked(MAGIC.len()).ok_or(Flaw::Short)?;
        let (component, compiler) = rest.split_at_checked(SHA_BYTES).ok_or(Flaw::Short)?;
        if magic != MAGIC {
            return Err(Flaw::Format);
        }
        // Compared in constant time; everything after it is our own word.
        self.mac(sealed, code).verify_slice(mac).map_err(|_| Flaw::Seal)?;
        if component != origin.component {
            return Err(Flaw::Component);
        }
        if compiler != origin.compiler.to_le_bytes() {
            return Err(Flaw::Compiler);
        }
        Ok(Code(code))
    }

    fn mac(&self, sealed: &[u8], code: &[u8]) -> Hmac<Sha256> {
        // HMAC itself fills a short key up with zeros; a whole block is taken without a way to fail.
        let mut block = Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(self.0).for_each(|(to, byte)| *to = byte);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block);
        mac.update(sealed);
        mac.update(code);
        mac
    }
}

/// Compiles `bytes`, which may take seconds and gigabytes: a thing for a process of its own.
///
/// # Errors
/// The compiler refuses it.
pub fn precompile(bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let engine = compiling().map_err(|error| compile_failed(&error))?;
    apart(|| engine.precompile_component(bytes))?.map_err(|error| compile_failed(&error))
}

/// Names the compiler of this program: its version, its settings and what the processor can do.
///
/// # Errors
/// The engine refuses its configuration.
pub fn compiler_id() -> Result<u64, EngineError> {
    let engine = compiling().map_err(EngineError::refused)?;
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Ok(hasher.finish())
}

impl Module {
    /// Loads compiled code for one of the worlds: milliseconds, and no compiler.
    ///
    /// # Errors
    /// The engine does not take the code, or the component does not fit the world.
    #[expect(unsafe_code, reason = "the one place where compiled code is loaded; `Code` is verified to be our own")]
    pub fn load(engine: &Engine, code: &Code<'_>, world: World) -> Result<Self, LoadError> {
        // SAFETY: a `Code` exists only where a MAC proved that these very bytes came out of `precompile` in a child of
        // this installation, and they are borrowed until the engine has copied them.
        let component = unsafe { Component::deserialize(engine.raw(), code.0) };
        let component = component.map_err(|error| LoadError::Stale { reason: readable(&error) })?;
        Self::link(engine, &component, world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { component: [7; 32], compiler: 9 };

    #[test]
    fn only_our_own_untouched_artefacts_are_opened() {
        let seal = Seal::new([1; 32]);
        let artefact = seal.seal(ORIGIN, b"code");
        assert_eq!(seal.open(&artefact, ORIGIN).map(|code| code.0.to_vec()), Ok(b"code".to_vec()));
        let other = Seal::new([2; 32]);
        assert_eq!(other.open(&artefact, ORIGIN).err(), Some(Flaw::Seal));
        assert_eq!(seal.open(&artefact, Origin { component: [8; 32], ..ORIGIN }).err(), Some(Flaw::Component));
        assert_eq!(seal.open(&artefact, Origin { compiler: 8, ..ORIGIN }).err(), Some(Flaw::Compiler));
        assert_eq!(seal.open(&[], ORIGIN).err(), Some(Flaw::Short));
        for at in 0..artefact.len() {
            let mut changed = artefact.clone();
            changed[at] ^= 1;
            let flaw = seal.open(&changed, ORIGIN).err();
            assert_eq!(flaw, Some(if at < 8 { Flaw::Format } else { Flaw::Seal }), "byte {at}");
            assert!(seal.open(&artefact[..at], ORIGIN).is_err());
        }
    }
}
