//! The supervisor on QEMU's board mps2-an386 (Cortex-M4F, 25 MHz): UART 0 is the link, UART 1 the test bench.
//!
//! One loop of `firmware::turn`, then the watchdog is fed. Interrupts only move bytes into queues and count milliseconds. What is
//! decided is in crate `firmware`; registers are in `registers`.
#![no_std]
#![no_main]

mod flash;
mod marks;
mod registers;

use core::cell::{Cell, RefCell};
use core::fmt::Write;
use cortex_m::interrupt::{Mutex, free};
use cortex_m_rt::{entry, exception};
use firmware::bench::{Bench, Request, Seen};
use firmware::{Board, Inputs, Limits, Next, Outputs, Supervisor, Turns};
use heapless::spsc::Queue;
use link::image::MPS2_AN386;
use link::{ResetCause, Slot};
use registers::{Line, Uart};

/// Bytes between interrupt and loop: two of the longest frames, 22 ms at 115 200 baud, where the loop needs one.
const QUEUE: usize = 256;

static UPTIME_MS: Mutex<Cell<u32>> = Mutex::new(Cell::new(0));
static RECEIVED: Mutex<RefCell<Queue<u8, QUEUE>>> = Mutex::new(RefCell::new(Queue::new()));
static LETTERS: Mutex<RefCell<Queue<u8, 16>>> = Mutex::new(RefCell::new(Queue::new()));

fn uptime_ms() -> u32 {
    free(|cs| UPTIME_MS.borrow(cs).get())
}

#[entry]
fn main() -> ! {
    let peripherals = cortex_m::Peripherals::take().expect("main runs once");
    // The boot stage has set it: the address says which slot this image runs in.
    let vectors = peripherals.SCB.vtor.read() as usize;
    registers::start(peripherals.SYST);
    let (retained, cause) = marks::take();
    let limits = if marks::is_on_the_bench() { Limits::BENCH } else { Limits::PRODUCT };
    let supervisor = Supervisor::new(limits, cause, uptime_ms(), retained);
    let slot = if vectors == flash::vectors(Slot::A) { Slot::A } else { Slot::B };
    let mut turns = Turns::new(supervisor, flash::slots(), MPS2_AN386, slot, &limits);
    let mut board = Mps2 { cause, bench: Bench::default(), shown: None };
    while turns.turn(&mut board) == Next::Turn {
        registers::feed_watchdog();
        // Woken by the next byte, or by the next millisecond.
        cortex_m::asm::wfi();
    }
    start_anew()
}

/// The board of QEMU: its pins are those of the test bench.
struct Mps2 {
    cause: ResetCause,
    bench: Bench,
    shown: Option<Seen>,
}

impl Board for Mps2 {
    fn uptime_ms(&mut self) -> u32 {
        uptime_ms()
    }

    fn received(&mut self) -> Option<u8> {
        free(|cs| RECEIVED.borrow(cs).borrow_mut().dequeue())
    }

    fn send(&mut self, frame: &[u8]) {
        Uart::LINK.send(frame);
    }

    fn inputs(&mut self, now_ms: u64, outputs: &Outputs) -> Inputs {
        while let Some(letter) = free(|cs| LETTERS.borrow(cs).borrow_mut().dequeue()) {
            if self.bench.command(now_ms, letter) == Some(Request::Hang) {
                hang();
            }
        }
        self.bench.inputs(now_ms, outputs)
    }

    /// One line on the bench for each change, and the light.
    fn drive(&mut self, supervisor: &Supervisor<'_>) {
        let seen = Seen::of(supervisor, self.cause);
        registers::light(seen.outputs.led.is_lit(supervisor.now_ms()));
        if self.shown.replace(seen) != Some(seen) {
            // A UART takes every byte.
            let _ = writeln!(Line(Uart::BENCH), "{seen}");
        }
    }
}

/// What the watchdog is for. Interrupts go on: a loop that hangs need not hang them.
fn hang() -> ! {
    loop {
        cortex_m::asm::nop();
    }
}

#[exception]
fn SysTick() {
    free(|cs| {
        let uptime = UPTIME_MS.borrow(cs);
        uptime.set(uptime.get().wrapping_add(1));
    });
}

/// Bytes came. A full queue drops them: the frame is then damaged, and counted as such.
#[exception]
unsafe fn DefaultHandler(_interrupt: i16) {
    while let Some(byte) = Uart::LINK.receive() {
        let _ = free(|cs| RECEIVED.borrow(cs).borrow_mut().enqueue(byte));
    }
    while let Some(letter) = Uart::BENCH.receive() {
        let _ = free(|cs| LETTERS.borrow(cs).borrow_mut().enqueue(letter));
    }
}

/// First stage of the watchdog: leaves a mark and waits for the second, which resets.
#[exception]
unsafe fn NonMaskableInt() {
    marks::leave(ResetCause::Watchdog);
    hang()
}

#[exception]
unsafe fn HardFault(_frame: &cortex_m_rt::ExceptionFrame) -> ! {
    start_anew()
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    start_anew()
}

/// For another image, or over our own bug: the computer is left as it stands.
fn start_anew() -> ! {
    marks::leave(ResetCause::Software);
    cortex_m::peripheral::SCB::sys_reset()
}
