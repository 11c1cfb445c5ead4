//! The boot stage: starts the image that `firmware::boot` chooses, under the watchdog, and nothing else.
//!
//! `SAGITTA_VENDOR_KEY` (64 hexadecimal digits, as `sagitta mcu key` prints them) names at build time whose images run; without
//! it, those of the bench.
#![no_std]
#![no_main]

mod flash;
// The boot stage has no link, no light and no clock.
#[allow(dead_code)]
mod registers;

use core::fmt::Write;
use cortex_m_rt::{entry, exception};
use firmware::VendorKey;
use firmware::boot::choose;
use link::image::MPS2_AN386;
use registers::{Line, Uart};

const KEY: VendorKey = match option_env!("SAGITTA_VENDOR_KEY") {
    Some(digits) => VendorKey::of_digits(digits),
    None => VendorKey::BENCH,
};

#[entry]
fn main() -> ! {
    let peripherals = cortex_m::Peripherals::take().expect("main runs once");
    Uart::BENCH.start();
    let start = match choose(&mut flash::slots(), MPS2_AN386, &KEY) {
        Ok(start) => start,
        Err(none) => {
            let [a, b] = none.why;
            // A UART takes every byte.
            let _ = writeln!(Line(Uart::BENCH), "boot none a={a:?} b={b:?}");
            stop()
        }
    };
    let (slot, version, trial) = (start.slot, start.header.version, start.on_trial);
    let _ = writeln!(Line(Uart::BENCH), "boot slot={slot:?} version={version} trial={trial}");
    // An image that hangs before it starts its own watchdog must not hang for ever.
    registers::start_watchdog();
    let vectors = flash::vectors(slot);
    // SAFETY: the table of a program that the vendor vouches for, linked for this address. Nothing of ours runs on.
    unsafe {
        peripherals.SCB.vtor.write(vectors as u32);
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
