//! Compiled code as a file: made by a process that may die of it, sealed, and loaded by one that has no compiler.
//!
//! Loading code is as dangerous as running it: whoever can make the loader take bytes of their own owns the process. So
//! [`Code`] is the only thing that is loaded, and it comes only of bytes whose seal (a MAC over everything, with a key
//! that never leaves the store) was verified in this process. The seal stands behind the code, so that a file can be
//! mapped as it is: its pages are shared and read when they are first run.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use tidegate_plugin::ManifestKind;
use wasmtime::component::Component;

use super::engine::{Engine, EngineError, compiling};
use super::module::{Module, apart, compile_failed, readable};
use super::module_error::ModuleError;

/// Stands last in an artifact; its last byte is the format.
const MAGIC: [u8; 8] = *b"tdgtart\x02";
const SHA_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
/// The sha-256 of the component, the compiler's identity, the MAC over the code and these two, the magic.
const SEAL_BYTES: usize = SHA_BYTES + 8 + MAC_BYTES + MAGIC.len();

/// Seals artifacts and tells its own seals from others. Never printed.
#[derive(Clone)]
pub struct Seal([u8; 32]);

/// What an artifact was compiled of and by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactOrigin {
    /// The sha-256 of the component.
    pub component: [u8; SHA_BYTES],
    /// [`compiler_id`] of the compiling engine.
    pub compiler: u64,
}

/// Why an artifact is not loaded. Always a reason to compile again, never one to fail.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
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
pub struct Code<'a>(VerifiedArtifact<'a>);

enum VerifiedArtifact<'a> {
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl Seal {
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// `code` as an artifact.
    #[must_use]
    pub fn seal(&self, origin: ArtifactOrigin, mut code: Vec<u8>) -> Vec<u8> {
        let mut mac = blake3::Hasher::new_keyed(&self.0);
        mac.update(&code);
        code.extend_from_slice(&origin.component);
        code.extend_from_slice(&origin.compiler.to_le_bytes());
        mac.update(&code[code.len() - SHA_BYTES - 8..]);
        code.extend_from_slice(mac.finalize().as_bytes());
        code.extend_from_slice(&MAGIC);
        code
    }

    /// The code in `artifact`, if it is sealed by us and of this origin.
    ///
    /// # Errors
    /// Why it must be compiled again.
    pub fn open<'a>(&self, artifact: &'a [u8], origin: ArtifactOrigin) -> Result<Code<'a>, ArtifactError> {
        self.verify(artifact, origin).map(|code| Code(VerifiedArtifact::Bytes(code)))
    }

    /// The code in the artifact at `path`, if it is sealed by us and of this origin. Nobody else may be able to write to
    /// its folder, and whoever may replaces files whole: the code is read from there as long as it is in use.
    ///
    /// # Errors
    /// Why it must be compiled again.
    pub fn open_file<'a>(&self, path: &'a Path, origin: ArtifactOrigin) -> Result<Code<'a>, ArtifactError> {
        let artifact = mapped(&File::open(path)?)?;
        self.verify(&artifact, origin)?;
        Ok(Code(VerifiedArtifact::File(path)))
    }

    /// Whether the artifact at `path` is as it was sealed by us, whatever it is the code of.
    ///
    /// # Errors
    /// It is not.
    pub fn check_file(&self, path: &Path) -> Result<(), ArtifactError> {
        let artifact = mapped(&File::open(path)?)?;
        let (_, seal) = artifact.split_last_chunk::<SEAL_BYTES>().ok_or(ArtifactError::Short)?;
        let (component, rest) = seal.split_first_chunk::<SHA_BYTES>().ok_or(ArtifactError::Short)?;
        let (compiler, _) = rest.split_first_chunk::<8>().ok_or(ArtifactError::Short)?;
        let origin = ArtifactOrigin { component: *component, compiler: u64::from_le_bytes(*compiler) };
        self.verify(&artifact, origin).map(drop)
    }

    /// The code in `artifact`, if everything in it is as we sealed it.
    fn verify<'a>(&self, artifact: &'a [u8], origin: ArtifactOrigin) -> Result<&'a [u8], ArtifactError> {
        let (code, seal) = artifact.split_last_chunk::<SEAL_BYTES>().ok_or(ArtifactError::Short)?;
        let (origin_sealed, rest) = seal.split_at(SHA_BYTES + 8);
        let (mac_sealed, magic) = rest.split_at(MAC_BYTES);
        if magic != MAGIC {
            return Err(ArtifactError::Format);
        }
        let mut mac = blake3::Hasher::new_keyed(&self.0);
        mac.update(code).update(origin_sealed);
        // Compared in constant time; everything that was hashed is our own word.
        if mac.finalize() != *<&[u8; MAC_BYTES]>::try_from(mac_sealed).map_err(|_| ArtifactError::Short)? {
            return Err(ArtifactError::Seal);
        }
        let (component, compiler) = origin_sealed.split_at(SHA_BYTES);
        if component != origin.component {
            return Err(ArtifactError::Component);
        }
        if compiler != origin.compiler.to_le_bytes() {
            return Err(ArtifactError::Compiler);
        }
        Ok(code)
    }
}

/// The bytes of `file`, read as they are looked at: hashing them takes two thirds of the time that it takes with a copy.
#[expect(unsafe_code, reason = "mapping a file trusts whoever may write to it, and so does running what it holds")]
fn mapped(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: nobody writes to the file or cuts it while it is mapped: it lies in a folder that only this user may enter,
    // and nothing there is written in place (`store::disk` replaces whole files).
    unsafe { memmap2::Mmap::map(file) }
}

/// Compiles `bytes`, which may take seconds and gigabytes: a thing for a process of its own.
///
/// # Errors
/// The compiler refuses it.
pub fn precompile(bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
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
    /// Loads compiled code of a plugin of this kind: milliseconds, and no compiler.
    ///
    /// # Errors
    /// The engine does not take the code, or the component does not fit the world.
    #[expect(unsafe_code, reason = "the one place where compiled code is loaded; `Code` is verified to be our own")]
    pub fn load(engine: &Engine, code: &Code<'_>, kind: ManifestKind) -> Result<Self, ModuleError> {
        let component = match code.0 {
            // SAFETY: a `Code` exists only where a MAC proved that these very bytes came out of `precompile` in a child
            // of this installation, and they are borrowed until the engine has copied them.
            VerifiedArtifact::Bytes(bytes) => unsafe { Component::deserialize(engine.raw(), bytes) },
            // SAFETY: as above. The file is mapped: it lies in a folder that only this user may enter, nothing there is
            // written in place (`store::disk` replaces whole files), and whoever could do so has the key as well.
            VerifiedArtifact::File(path) => unsafe { Component::deserialize_file(engine.raw(), path) },
        };
        let component = component.map_err(|error| ModuleError::Stale { reason: readable(&error) })?;
        Self::link(engine, &component, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: ArtifactOrigin = ArtifactOrigin { component: [7; 32], compiler: 9 };

    /// What is opened of these bytes, the same in memory and in a file.
    fn opened(seal: &Seal, artifact: &[u8], origin: ArtifactOrigin) -> Result<(), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), artifact).unwrap();
        let of_file = seal.open_file(file.path(), origin).map(|_| ()).map_err(|error| error.to_string());
        let in_memory = seal.open(artifact, origin).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(of_file, in_memory);
        in_memory
    }

    #[test]
    fn only_our_own_untouched_artifacts_are_opened() {
        let seal = Seal::new([1; 32]);
        let refused = |error: ArtifactError| Err(error.to_string());
        let artifact = seal.seal(ORIGIN, b"code".to_vec());
        assert_eq!(opened(&seal, &artifact, ORIGIN), Ok(()));
        assert!(matches!(seal.open(&artifact, ORIGIN), Ok(Code(VerifiedArtifact::Bytes(b"code")))));
        assert_eq!(opened(&Seal::new([2; 32]), &artifact, ORIGIN), refused(ArtifactError::Seal));
        assert_eq!(
            opened(&seal, &artifact, ArtifactOrigin { component: [8; 32], ..ORIGIN }),
            refused(ArtifactError::Component)
        );
        assert_eq!(
            opened(&seal, &artifact, ArtifactOrigin { compiler: 8, ..ORIGIN }),
            refused(ArtifactError::Compiler)
        );
        assert_eq!(opened(&seal, &[], ORIGIN), refused(ArtifactError::Short));
        for at in 0..artifact.len() {
            let mut changed = artifact.clone();
            changed[at] ^= 1;
            let error = if at < artifact.len() - MAGIC.len() { ArtifactError::Seal } else { ArtifactError::Format };
            assert_eq!(opened(&seal, &changed, ORIGIN), refused(error), "byte {at}");
            assert!(opened(&seal, &artifact[..at], ORIGIN).is_err());
        }
    }

    #[test]
    fn code_of_many_pages_is_sealed_whole() {
        let seal = Seal::new([1; 32]);
        for bytes in [4095, 4096, 4097, (1 << 20) + 7] {
            let mut artifact = seal.seal(ORIGIN, vec![5; bytes]);
            assert_eq!(opened(&seal, &artifact, ORIGIN), Ok(()), "{bytes}");
            artifact[bytes - 1] ^= 1;
            assert_eq!(opened(&seal, &artifact, ORIGIN), Err(ArtifactError::Seal.to_string()), "{bytes}");
        }
    }
}
