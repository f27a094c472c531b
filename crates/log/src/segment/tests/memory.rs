//! A file layer in memory: it knows what was synced, loses or tears the rest at a power cut, and fails when told to.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::segment::storage::{Home, Storage, Stored};

const SECTOR: usize = 512;

/// A small generator (splitmix64), so that a seed says everything.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Injected {
    Error(i32),
    /// A write takes one byte only; anything else is interrupted once.
    Short,
    /// From here on nothing works: the process died.
    Death,
}

pub(super) const EINTR: i32 = 4;
pub(super) const EIO: i32 = 5;
pub(super) const EMFILE: i32 = 24;
pub(super) const ENOSPC: i32 = 28;

/// What an operation is, for those who want to hit a kind of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    List,
    Open,
    Create,
    Rename,
    Remove,
    SyncNames,
    Read,
    Write,
    SetLen,
    Sync,
    Len,
}

#[derive(Debug, Default)]
struct World {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since they were synced: what a name stands for, or nothing.
    pending_names: Vec<Vec<(String, Option<usize>)>>,
    ops: u64,
    injected: Option<(u64, Injected)>,
    /// Every operation of this kind fails so.
    always: Option<(Op, i32)>,
    dead: bool,
    /// The operation that failed.
    hit: Option<Op>,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    writes: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<World>>);

struct Open {
    memory: Memory,
    inode: usize,
}

impl Memory {
    pub(super) fn home(&self) -> Home {
        Home::new(Arc::new(self.clone()))
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// The operation number `at` from now on fails.
    pub(super) fn fail(&self, at: u64, injected: Injected) {
        let mut world = self.world();
        world.injected = Some((world.ops + at, injected));
    }

    pub(super) fn fail_always(&self, always: Option<(Op, i32)>) {
        self.world().always = always;
    }

    pub(super) fn hit(&self) -> Option<Op> {
        self.world().hit
    }

    pub(super) fn ops(&self) -> u64 {
        self.world().ops
    }

    /// The process is gone, its files are as it left them; the next one may use them.
    pub(super) fn killed(&self) -> Self {
        let world = self.world();
        let (files, names, durable_names) = (world.files.clone(), world.names.clone(), world.durable_names.clone());
        let pending_names = world.pending_names.clone();
        Self(Arc::new(Mutex::new(World { files, names, durable_names, pending_names, ..World::default() })))
    }

    /// The power is cut: of what was not synced anything may be there or not, sector by sector, name by name.
    pub(super) fn cut(&self, dice: &mut Dice) -> Self {
        let world = self.world();
        let mut names = world.durable_names.clone();
        let ordered = dice.below(2) == 0;
        let kept = dice.below(world.pending_names.len() as u64 + 1);
        for (at, changes) in world.pending_names.iter().enumerate() {
            if if ordered { (at as u64) < kept } else { dice.below(2) == 0 } {
                for (name, inode) in changes {
                    match inode {
                        Some(inode) => drop(names.insert(name.clone(), *inode)),
                        None => drop(names.remove(name)),
                    }
                }
            }
        }
        let files: Vec<Inode> = world.files.iter().map(|inode| torn(inode, dice)).collect();
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(World { files, names, durable_names, ..World::default() })))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.world().names.keys().cloned().collect()
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        world.files[world.names[name]].bytes.clone()
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut world = self.world();
        world.files.push(Inode { durable: bytes.clone(), bytes, writes: Vec::new() });
        let inode = world.files.len() - 1;
        world.names.insert(name.to_owned(), inode);
        world.durable_names.insert(name.to_owned(), inode);
    }

    pub(super) fn delete(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name);
        world.durable_names.remove(name);
    }

    fn op(&self, op: Op) -> io::Result<std::sync::MutexGuard<'_, World>> {
        let mut world = self.world();
        let injected = world.injected.filter(|(at, _)| *at == world.ops).map(|(_, injected)| injected);
        world.ops += 1;
        if injected.is_some() {
            world.hit = Some(op);
        }
        if world.dead {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        match injected {
            Some(Injected::Error(code)) => return Err(io::Error::from_raw_os_error(code)),
            Some(Injected::Short) if op != Op::Write => return Err(io::Error::from_raw_os_error(EINTR)),
            Some(Injected::Death) if op != Op::Write => {
                world.dead = true;
                return Err(io::Error::from_raw_os_error(EIO));
            }
            _ => {}
        }
        match world.always {
            Some((always, code)) if always == op => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(world),
        }
    }
}

/// What is left of a file: each sector as it was at some moment since the last sync.
fn torn(inode: &Inode, dice: &mut Dice) -> Inode {
    if inode.writes.is_empty() && inode.bytes.len() == inode.durable.len() {
        return Inode { bytes: inode.durable.clone(), durable: inode.durable.clone(), writes: Vec::new() };
    }
    let len = if dice.below(2) == 0 { inode.bytes.len() } else { inode.durable.len() };
    let mut bytes = inode.durable.clone();
    bytes.resize(inode.bytes.len().max(inode.durable.len()), 0);
    for sector in 0..bytes.len().div_ceil(SECTOR) {
        let (start, end) = (sector * SECTOR, bytes.len().min((sector + 1) * SECTOR));
        let touching: Vec<_> = inode.writes.iter().filter(|(at, w)| *at < end && at + w.len() > start).collect();
        let kept = usize::try_from(dice.below(touching.len() as u64 + 1)).unwrap();
        for (at, write) in &touching[..kept] {
            let (from, to) = ((*at).max(start), (at + write.len()).min(end));
            bytes[from..to].copy_from_slice(&write[from - at..to - at]);
        }
    }
    bytes.truncate(len);
    Inode { durable: bytes.clone(), bytes, writes: Vec::new() }
}

impl Storage for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.op(Op::List)?.names.keys().cloned().collect())
    }

    fn open(&self, name: &str, _: bool) -> io::Result<Box<dyn Stored>> {
        let world = self.op(Op::Open)?;
        let inode = *world.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Open { memory: self.clone(), inode }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Stored>> {
        let mut world = self.op(Op::Create)?;
        let known = world.names.get(name).copied();
        let inode = known.unwrap_or_else(|| {
            world.files.push(Inode::default());
            world.files.len() - 1
        });
        world.files[inode].bytes.clear();
        world.files[inode].writes.clear();
        if known.is_none() {
            world.names.insert(name.to_owned(), inode);
            world.pending_names.push(vec![(name.to_owned(), Some(inode))]);
        }
        Ok(Box::new(Open { memory: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.op(Op::Rename)?;
        let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), inode);
        world.pending_names.push(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.op(Op::Remove)?;
        world.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        world.pending_names.push(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut world = self.op(Op::SyncNames)?;
        world.durable_names = world.names.clone();
        world.pending_names.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }
}

impl Stored for Open {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let world = self.memory.op(Op::Read)?;
        let file = &world.files[self.inode].bytes;
        let from = usize::try_from(at).unwrap().min(file.len());
        let count = bytes.len().min(file.len() - from);
        bytes[..count].copy_from_slice(&file[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut world = self.memory.op(Op::Write)?;
        let now = world.ops - 1;
        let injected = world.injected.filter(|(at, _)| *at == now).map(|(_, injected)| injected);
        let bytes = match injected {
            Some(Injected::Short) => &bytes[..1],
            Some(Injected::Death) => &bytes[..bytes.len() / 2],
            _ => bytes,
        };
        let (at, file) = (usize::try_from(at).unwrap(), &mut world.files[self.inode]);
        let end = at + bytes.len();
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[at..end].copy_from_slice(bytes);
        file.writes.push((at, bytes.to_vec()));
        if injected == Some(Injected::Death) {
            world.dead = true;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(bytes.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.memory.op(Op::SetLen)?;
        world.files[self.inode].bytes.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.memory.op(Op::Sync)?;
        let file = &mut world.files[self.inode];
        file.durable = file.bytes.clone();
        file.writes.clear();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.memory.op(Op::Len)?.files[self.inode].bytes.len() as u64)
    }
}
