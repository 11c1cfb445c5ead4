//! Memory that outlives a reset: the retained bytes, why the last run ended, and whether this is the test bench.

use core::hint::black_box;
use core::ptr::{addr_of_mut, read_volatile};
use core::sync::atomic::{AtomicU32, Ordering};
use firmware::Retained;
use link::ResetCause;

/// Not cleared at start: what was left stays as long as the power does, also over a start of another version.
#[unsafe(link_section = ".retained.journal")]
static mut RETAINED: Retained = Retained::empty();
#[unsafe(link_section = ".retained.cause")]
static CAUSE: AtomicU32 = AtomicU32::new(0);

/// Marks of a run that ended by itself; anything else is memory after power-on.
const WATCHDOG: u32 = 0x57a7_0001;
const SOFTWARE: u32 = 0x57a7_0002;

/// A word beyond the image's memory that QEMU's loader device sets on the test bench: limits in seconds.
const BENCH_WORD: *const u32 = 0x2010_0000 as *const u32;
const ON_THE_BENCH: u32 = 0xbe9c_0001;

/// Says why this run will end.
pub fn leave(cause: ResetCause) {
    let mark = match cause {
        ResetCause::Watchdog => WATCHDOG,
        ResetCause::Software => SOFTWARE,
        ResetCause::PowerOn | ResetCause::BrownOut => 0,
    };
    CAUSE.store(mark, Ordering::SeqCst);
}

/// The retained bytes and why the last run ended. Called once, by `main`.
pub fn take() -> (&'static mut Retained, ResetCause) {
    let cause = match CAUSE.swap(0, Ordering::SeqCst) {
        WATCHDOG => ResetCause::Watchdog,
        SOFTWARE => ResetCause::Software,
        _ => ResetCause::PowerOn,
    };
    // The compiler may not assume that the bytes are the initial ones: they are what the last run left.
    let retained = black_box(addr_of_mut!(RETAINED));
    // SAFETY: the bytes are valid for any content, and nobody else uses them: `take` is called once, by `main`.
    (unsafe { &mut *retained }, cause)
}

pub fn is_on_the_bench() -> bool {
    // SAFETY: an aligned word of the board's SRAM that nothing else uses.
    unsafe { read_volatile(BENCH_WORD) == ON_THE_BENCH }
}
