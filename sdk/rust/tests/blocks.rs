//! Blocks hold what was written into them, whatever else is taken and given back meanwhile.

use std::alloc::{GlobalAlloc, Layout};

use tidegate_sdk::Heap;

/// A block that is filled with its mark.
struct Block {
    at: *mut u8,
    layout: Layout,
    mark: u8,
}

impl Block {
    fn fill(at: *mut u8, layout: Layout, mark: u8) -> Self {
        assert!(!at.is_null(), "{layout:?}");
        assert_eq!(at as usize % layout.align(), 0, "{layout:?}");
        // SAFETY: the heap says that these bytes are ours.
        unsafe { at.write_bytes(mark, layout.size()) };
        Self { at, layout, mark }
    }

    fn check(&self, bytes: usize) {
        // SAFETY: as above, and they were written.
        let held = unsafe { std::slice::from_raw_parts(self.at, bytes) };
        assert!(held.iter().all(|byte| *byte == self.mark), "a block of {:?} was overwritten", self.layout);
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn blocks_never_overlap() {
    let heap = Heap::new();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut blocks: Vec<Block> = Vec::new();
    for round in 0..60_000 {
        let mark = round as u8;
        match numbers.below(5) {
            0 | 1 if blocks.len() < 300 => {
                let (bytes_log, align_log) = (1 + numbers.below(11), numbers.below(5));
                let layout = Layout::from_size_align(1 + numbers.below(1 << bytes_log), 1 << align_log).unwrap();
                // SAFETY: the layout is not empty.
                blocks.push(Block::fill(unsafe { heap.alloc(layout) }, layout, mark));
            }
            2 if !blocks.is_empty() => {
                let place = numbers.below(blocks.len());
                let block = blocks.swap_remove(place);
                block.check(block.layout.size());
                let bytes = 1 + numbers.below(3_000);
                // SAFETY: the block is of this heap and layout, and is not used any more.
                let at = unsafe { heap.realloc(block.at, block.layout, bytes) };
                Block { at, ..block }.check(block.layout.size().min(bytes));
                let layout = Layout::from_size_align(bytes, block.layout.align()).unwrap();
                blocks.push(Block::fill(at, layout, mark));
            }
            3 if !blocks.is_empty() => {
                let place = numbers.below(blocks.len());
                let block = blocks.swap_remove(place);
                block.check(block.layout.size());
                // SAFETY: as above.
                unsafe { heap.dealloc(block.at, block.layout) };
            }
            _ => {}
        }
    }
    for block in &blocks {
        block.check(block.layout.size());
    }
}

#[test]
fn large_alignments_are_kept_also_after_such_a_block_came_back() {
    let heap = Heap::new();
    for align in [32, 64, 4096] {
        let layout = Layout::from_size_align(24, align).unwrap();
        let plain = Layout::from_size_align(align, 1).unwrap();
        for _ in 0..3 {
            // SAFETY: neither layout is empty, and each block is given back as it was taken.
            unsafe {
                let skew = Block::fill(heap.alloc(plain), plain, 1);
                let block = Block::fill(heap.alloc(layout), layout, 2);
                skew.check(align);
                heap.dealloc(skew.at, plain);
                heap.dealloc(block.at, layout);
            }
        }
    }
}

#[test]
fn what_cannot_be_had_is_null_and_costs_nothing() {
    let heap = Heap::new();
    for bytes in [32 << 20, 1 << 31, isize::MAX as usize - 64] {
        let layout = Layout::from_size_align(bytes, 8).unwrap();
        // SAFETY: the layout is not empty.
        assert!(unsafe { heap.alloc(layout) }.is_null(), "{bytes}");
    }
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: as above.
    let block = Block::fill(unsafe { heap.alloc(layout) }, layout, 7);
    // SAFETY: the block is of this heap and layout; what fails leaves it as it was.
    assert!(unsafe { heap.realloc(block.at, layout, 32 << 20) }.is_null());
    block.check(100);
}
