//! The supervisor on the product's microcontroller (STM32G431, Cortex-M4F, 170 MHz).
//!
//! One loop of `firmware::turn`, then the watchdog is fed. Interrupts only move bytes into queues and count milliseconds. What is
//! decided is in crate `firmware`, what is wired where in `pins`. Built and held to its sizes; no such board was at hand.
#![no_std]
#![no_main]

mod flash;
mod pins;
mod retained;

use core::cell::Cell;
use core::ptr::addr_of_mut;
use cortex_m::interrupt::{Mutex, free};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use embassy_stm32::flash::Flash;
use embassy_stm32::rcc::{Pll, PllMul, PllPreDiv, PllRDiv, PllSource, Sysclk, mux};
use embassy_stm32::wdg::IndependentWatchdog;
use firmware::{Limits, Next, Slots, Supervisor, Turns};
use flash::{Kept, vectors as vectors_of};
use link::Slot;
use link::image::STM32G431;
use pins::{Pins, Queues};

const CLOCK_HZ: u32 = 170_000_000;
/// The loop turns once in a millisecond; erasing a slot takes half a second.
const WATCHDOG_US: u32 = 4_000_000;

static UPTIME_MS: Mutex<Cell<u32>> = Mutex::new(Cell::new(0));
static mut QUEUES: Queues = Queues::new();

fn uptime_ms() -> u32 {
    free(|cs| UPTIME_MS.borrow(cs).get())
}

#[entry]
fn main() -> ! {
    let core = cortex_m::Peripherals::take().expect("main runs once");
    // The boot stage has set it: the address says which slot this image runs in.
    let vectors = core.SCB.vtor.read() as usize;
    let p = embassy_stm32::init(clocks());
    start_milliseconds(core.SYST);
    // SAFETY: nobody else uses them: `main` runs once.
    let (mut pins, flash, watchdog) = Pins::new(p, unsafe { &mut *addr_of_mut!(QUEUES) });
    let mut watchdog = IndependentWatchdog::new(watchdog, WATCHDOG_US);
    watchdog.unleash();
    let supervisor =
        Supervisor::new(Limits::PRODUCT, retained::cause(), uptime_ms(), retained::take());
    let slot = if vectors == vectors_of(Slot::A) { Slot::A } else { Slot::B };
    let slots = Slots::new(Kept(Flash::new_blocking(flash)));
    let mut turns = Turns::new(supervisor, slots, STM32G431, slot, &Limits::PRODUCT);
    while turns.turn(&mut pins) == Next::Turn {
        watchdog.pet();
        // Woken by the next byte, or by the next millisecond.
        cortex_m::asm::wfi();
    }
    cortex_m::peripheral::SCB::sys_reset()
}

/// The internal oscillator, 16 MHz, times 85 over 8: the fastest that the MCU runs. A UART needs no crystal.
fn clocks() -> embassy_stm32::Config {
    let mut config = embassy_stm32::Config::default();
    config.rcc.pll = Some(Pll {
        source: PllSource::HSI,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL85,
        divp: None,
        divq: None,
        divr: Some(PllRDiv::DIV2),
    });
    config.rcc.sys = Sysclk::PLL1_R;
    config.rcc.boost = true;
    config.rcc.mux.adc12sel = mux::Adcsel::SYS;
    config
}

fn start_milliseconds(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CLOCK_HZ / 1000 - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

#[exception]
fn SysTick() {
    free(|cs| {
        let uptime = UPTIME_MS.borrow(cs);
        uptime.set(uptime.get().wrapping_add(1));
    });
}

#[exception]
unsafe fn HardFault(_frame: &cortex_m_rt::ExceptionFrame) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

/// Over our own bug: the computer is left as it stands.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
