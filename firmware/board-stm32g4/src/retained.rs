//! Memory that outlives a reset, and why the last run ended.

use core::hint::black_box;
use core::ptr::addr_of_mut;
use embassy_stm32::pac::RCC;
use firmware::Retained;
use link::ResetCause;

/// Not cleared at start: what was left stays as long as the power does, also over a start of another version.
#[unsafe(link_section = ".retained.journal")]
static mut RETAINED: Retained = Retained::empty();

/// The retained bytes. Called once, by `main`.
pub fn take() -> &'static mut Retained {
    // The compiler may not assume that the bytes are the initial ones: they are what the last run left.
    let retained = black_box(addr_of_mut!(RETAINED));
    // SAFETY: the bytes are valid for any content, and nobody else uses them: `take` is called once, by `main`.
    unsafe { &mut *retained }
}

/// Why the last run ended, by the flags of the clock controller (RM0440 section 7.4.29), which it clears.
///
/// A brown-out that reset the MCU is a power-on to it: the flash option `BOR_LEV` sets the same flag for both.
pub fn cause() -> ResetCause {
    let flags = RCC.csr().read();
    RCC.csr().modify(|register| register.set_rmvf(true));
    match (flags.iwdgrstf(), flags.sftrstf()) {
        (true, _) => ResetCause::Watchdog,
        (_, true) => ResetCause::Software,
        _ => ResetCause::PowerOn,
    }
}
