//! The boot stage: starts the image that `firmware::boot` chooses, under the watchdog, and nothing else.
//!
//! `SAGITTA_VENDOR_KEY` (64 hexadecimal digits, as `sagitta mcu key` prints them) names at build time whose images run; without
//! it, those of the bench. It leaves the clocks as a reset does: the image sets them.
#![no_std]
#![no_main]

mod flash;

use cortex_m_rt::{entry, exception};
use embassy_stm32::flash::Flash;
use embassy_stm32::wdg::IndependentWatchdog;
use firmware::boot::choose;
use firmware::{Slots, VendorKey};
use link::image::STM32G431;

const KEY: VendorKey = match option_env!("SAGITTA_VENDOR_KEY") {
    Some(digits) => VendorKey::of_digits(digits),
    None => VendorKey::BENCH,
};
/// Of an image that hangs before it starts its own.
const WATCHDOG_US: u32 = 4_000_000;

#[entry]
fn main() -> ! {
    let core = cortex_m::Peripherals::take().expect("main runs once");
    let p = embassy_stm32::init(embassy_stm32::Config::default());
    let mut slots = Slots::new(flash::Kept(Flash::new_blocking(p.FLASH)));
    let Ok(start) = choose(&mut slots, STM32G431, &KEY) else { stop() };
    IndependentWatchdog::new(p.IWDG, WATCHDOG_US).unleash();
    let vectors = flash::vectors(start.slot);
    // SAFETY: the table of a program that the vendor vouches for, linked for this address. Nothing of ours runs on.
    unsafe {
        core.SCB.vtor.write(vectors as u32);
        cortex_m::asm::bootload(vectors as *const u32)
    }
}

/// Somebody must program an image.
fn stop() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

#[exception]
unsafe fn HardFault(_frame: &cortex_m_rt::ExceptionFrame) -> ! {
    stop()
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    stop()
}
