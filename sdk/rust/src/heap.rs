//! The heap of a plugin, for what a plugin does: take many small blocks, give them back, end.
//!
//! A block has a power of two of bytes, and blocks that were given back wait in a list for each of these sizes, so taking and
//! giving back are a few instructions that the compiler puts where they are needed. New blocks come off the end of the
//! memory. What this gives up: a block never becomes one of another size, so a plugin that lives for long and changes its
//! ways holds more memory than with Rust's own allocator. To go back to that, delete this and the `#[global_allocator]`.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::null_mut;

/// Sizes up to 2 GiB, half of what a plugin can address.
const CLASSES: usize = 32;
/// The alignment of the largest primitive. Whatever asks for more gets as much as its size is rounded to.
const ALIGN: usize = 16;
/// Holds the pointer of a list.
const LEAST_BYTES: usize = 8;
const PAGE_BYTES: usize = 64 << 10;

/// Free lists over the memory of this plugin.
pub struct Heap {
    /// For each size the block that was given back last; its first bytes point to the one before.
    free: [Cell<*mut u8>; CLASSES],
    /// What lies between was never given out.
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: a plugin has one thread.
unsafe impl Sync for Heap {}

impl Heap {
    pub const fn new() -> Self {
        Self { free: [const { Cell::new(null_mut()) }; CLASSES], next: Cell::new(0), end: Cell::new(0) }
    }

    #[cold]
    #[inline(never)]
    fn fresh(&self, class: usize, align: usize) -> *mut u8 {
        if self.end.get() == 0 {
            self.next.set(memory::start());
            self.end.set(memory::end());
        }
        let bytes = 1_usize << class;
        let align = bytes.min(ALIGN).max(align);
        let place = self.next.get().checked_next_multiple_of(align);
        let Some((at, end)) = place.and_then(|at| Some((at, at.checked_add(bytes)?))) else { return null_mut() };
        let missing = end.saturating_sub(self.end.get());
        if missing > 0 {
            let pages = missing.div_ceil(PAGE_BYTES);
            if !memory::grow(pages) {
                return null_mut();
            }
            self.end.set(self.end.get() + pages * PAGE_BYTES);
        }
        self.next.set(end);
        at as *mut u8
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

/// The power of two that holds `layout` and a pointer.
#[inline(always)]
const fn class_of(layout: Layout) -> usize {
    let bytes = if layout.size() > layout.align() { layout.size() } else { layout.align() };
    let bytes = if bytes > LEAST_BYTES { bytes } else { LEAST_BYTES };
    (usize::BITS - (bytes - 1).leading_zeros()) as usize
}

// SAFETY: a block is either handed out or in one list, and what the end of the memory gives was never handed out. A block of
// a class has the bytes of that class, and the alignment that was asked for: those that ask for more than `ALIGN` are never
// served from a list.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let class = class_of(layout);
        let Some(list) = self.free.get(class) else { return null_mut() };
        let block = list.get();
        if block.is_null() || layout.align() > ALIGN {
            return self.fresh(class, layout.align());
        }
        // SAFETY: whatever is in a list begins with a pointer, which `dealloc` wrote.
        list.set(unsafe { block.cast::<*mut u8>().read_unaligned() });
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(list) = self.free.get(class_of(layout)) else { return };
        // SAFETY: the caller is done with the block, and each holds a pointer at least.
        unsafe { block.cast::<*mut u8>().write_unaligned(list.get()) };
        list.set(block);
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that `bytes` and this alignment make a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if class_of(wanted) == class_of(layout) {
            return block;
        }
        // SAFETY: the new block is another one and holds the smaller of the two sizes; the old one is as the caller had it.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod memory {
    use core::arch::wasm32::{memory_grow, memory_size};

    unsafe extern "C" {
        /// Where the linker says that stack and data end.
        static __heap_base: u8;
    }

    pub fn start() -> usize {
        &raw const __heap_base as usize
    }

    pub fn end() -> usize {
        memory_size::<0>() * super::PAGE_BYTES
    }

    pub fn grow(pages: usize) -> bool {
        memory_grow::<0>(pages) != usize::MAX
    }
}

/// A memory of 16 MiB that does not grow, so that the heap can be tested where plugins are built.
#[cfg(not(target_arch = "wasm32"))]
mod memory {
    const BYTES: usize = 16 << 20;

    thread_local! {
        static START: usize = Box::leak(vec![0_u8; BYTES].into_boxed_slice()).as_mut_ptr().expose_provenance();
    }

    pub fn start() -> usize {
        START.with(|start| *start)
    }

    pub fn end() -> usize {
        start() + BYTES
    }

    pub const fn grow(_pages: usize) -> bool {
        false
    }
}
