//! The allocator itself: talc over a static arena, with `memory.grow` behind it.

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

const ARENA: usize = 64 * 1024;
const PAGE: usize = 64 * 1024;
/// More than talc adds to an allocation for itself.
const OVERHEAD: usize = 64;

static mut MEMORY: [MaybeUninit<u8>; ARENA] = [MaybeUninit::uninit(); ARENA];

#[global_allocator]
static HEAP: TalcSyncCell<ArenaThenPages, WasmBinning> = TalcSyncCell::new_wasm(ArenaThenPages::Untouched);

/// Where the memory of the next heap comes from.
#[derive(Debug)]
enum ArenaThenPages {
    /// From the arena.
    Untouched,
    /// From new pages, which extend the last heap where they follow on it.
    Used { end: Option<NonNull<u8>> },
}

// SAFETY: `acquire` allocates nothing.
unsafe impl Source for ArenaThenPages {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let Self::Used { end } = &mut talc.source else {
            // SAFETY: nothing but the heap ever uses MEMORY, and it comes here once.
            let end = unsafe { talc.claim((&raw mut MEMORY).cast(), ARENA) };
            talc.source = Self::Used { end };
            return end.map(|_| ()).ok_or(());
        };
        let end = end.take();
        let pages = (layout.size() + layout.align() + OVERHEAD).div_ceil(PAGE);
        let before = memory_grow::<0>(pages);
        if before == usize::MAX {
            talc.source = Self::Used { end };
            return Err(());
        }
        let start = (before * PAGE) as *mut u8;
        // SAFETY: the pages from `start` on are new, so no other code uses them; `end` is the end of the last heap.
        let end = unsafe {
            match end {
                Some(end) if end.as_ptr() == start => Some(talc.extend(end, start.add(pages * PAGE))),
                _ => talc.claim(start, pages * PAGE),
            }
        };
        talc.source = Self::Used { end };
        end.map(|_| ()).ok_or(())
    }
}
