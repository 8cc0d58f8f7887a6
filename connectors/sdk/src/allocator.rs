//! A bump allocator that never frees: an instance lives for one step of microseconds and is thrown
//! away whole, so keeping books about free memory would be the larger part of the work.
//!
//! Only the last block can shrink or grow in place. Memory grows in large chunks, since each growth
//! costs the host a system call.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;

/// One page of linear memory, bytes.
const PAGE: usize = 64 * 1024;
/// Memory is asked for in steps of at least this many pages (1 MiB): a page of 100 transactions
/// fits in one.
const GROW_PAGES: usize = 16;

struct Bump {
    /// First free address; 0 before the first allocation.
    next: Cell<usize>,
    /// First address past the memory we own.
    end: Cell<usize>,
}

// SAFETY: a connector has one thread; the target has no threads at all.
#[allow(unsafe_code, reason = "a static must be Sync, and wasm32 without threads has one thread")]
unsafe impl Sync for Bump {}

#[global_allocator]
static BUMP: Bump = Bump { next: Cell::new(0), end: Cell::new(0) };

#[allow(unsafe_code, reason = "the linker's symbol is the only way to know where the heap begins")]
fn heap_base() -> usize {
    unsafe extern "C" {
        static __heap_base: u8;
    }
    core::ptr::addr_of!(__heap_base) as usize
}

impl Bump {
    /// Makes `end` reach at least `until`; false if the memory limit is reached.
    fn reach(&self, until: usize) -> bool {
        if until <= self.end.get() {
            return true;
        }
        let missing = (until - self.end.get()).div_ceil(PAGE);
        for pages in [missing.max(GROW_PAGES), missing] {
            let before = core::arch::wasm32::memory_grow::<0>(pages);
            if before != usize::MAX {
                self.end.set((before + pages) * PAGE);
                return true;
            }
        }
        false
    }
}

#[allow(unsafe_code, reason = "an allocator hands out raw memory")]
// SAFETY: blocks are handed out from growing addresses of memory that is ours, so they never
// overlap; alignment is rounded up; `realloc` moves when it cannot grow in place.
unsafe impl GlobalAlloc for Bump {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.next.get() == 0 {
            self.next.set(heap_base());
            self.end.set(core::arch::wasm32::memory_size::<0>() * PAGE);
        }
        let start = (self.next.get() + layout.align() - 1) & !(layout.align() - 1);
        let Some(until) = start.checked_add(layout.size()) else {
            return core::ptr::null_mut();
        };
        if !self.reach(until) {
            return core::ptr::null_mut();
        }
        self.next.set(until);
        start as *mut u8
    }

    #[inline]
    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // Nothing is ever handed out twice, so memory is still as fresh as the host gave it: zero.
        // SAFETY: same contract as `alloc`.
        unsafe { self.alloc(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let is_last = block as usize + layout.size() == self.next.get();
        if size <= layout.size() {
            return block;
        }
        if is_last {
            let Some(until) = (block as usize).checked_add(size) else {
                return core::ptr::null_mut();
            };
            if !self.reach(until) {
                return core::ptr::null_mut();
            }
            self.next.set(until);
            return block;
        }
        // SAFETY: `size` is larger than before and `align` unchanged, so the layout is valid as the
        // caller promised; the two blocks do not overlap.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                core::ptr::copy_nonoverlapping(block, moved, layout.size());
            }
            moved
        }
    }
}
