//! The peripherals of the board: CMSDK UARTs, the CMSDK watchdog, the system timer, a light (Arm DAI 0386, DDI 0479).

use core::fmt;
use core::ptr::{read_volatile, write_volatile};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

/// Clock of processor and peripherals, in hertz.
const CLOCK_HZ: u32 = 25_000_000;

/// UART registers, in words from the base: DATA, STATE, CTRL, INTSTATUS, BAUDDIV.
const DATA: usize = 0;
const STATE: usize = 1;
const CTRL: usize = 2;
const INTERRUPT: usize = 3;
const BAUD_DIVIDER: usize = 4;
const TRANSMITTER_FULL: u32 = 1;
const RECEIVER_FULL: u32 = 2;
/// Transmitter, receiver and the receiver's interrupt on.
const RECEIVE_AND_SEND: u32 = 0b1011;
/// The receiver's bit in INTSTATUS; writing it clears the interrupt.
const RECEIVED: u32 = 2;

/// Set-enable register of the interrupt controller; UART 0 receives by interrupt 0, UART 1 by interrupt 2.
const INTERRUPT_ENABLE: *mut u32 = 0xe000_e100 as *mut u32;
const RECEIVE_INTERRUPTS: u32 = 1 | 1 << 2;

/// Watchdog registers, in words: LOAD, VALUE, CONTROL, INTCLR, ..., LOCK.
const WATCHDOG: *mut u32 = 0x4000_8000 as *mut u32;
const LOAD: usize = 0;
const CONTROL: usize = 2;
const CLEAR: usize = 3;
const LOCK: usize = 0x300;
const UNLOCK: u32 = 0x1acc_e551;
/// First stage: interrupt (NMI). Second: reset.
const BOTH_STAGES: u32 = 3;
/// Each stage, in milliseconds: the loop turns once in one. Long against a host that runs QEMU among other things.
const STAGE_MS: u32 = 2_000;

/// The FPGA's user LEDs.
const LIGHT: *mut u32 = 0x4002_8000 as *mut u32;

fn write(register: *mut u32, value: u32) {
    // SAFETY: every pointer here is an aligned register of this board, from the constants above.
    unsafe { write_volatile(register, value) }
}

fn read(register: *mut u32) -> u32 {
    // SAFETY: as in `write`.
    unsafe { read_volatile(register) }
}

/// One UART, by its base address.
#[derive(Clone, Copy)]
pub struct Uart(usize);

impl Uart {
    pub const LINK: Uart = Uart(0x4000_4000);
    pub const BENCH: Uart = Uart(0x4000_5000);

    fn register(self, word: usize) -> *mut u32 {
        (self.0 + 4 * word) as *mut u32
    }

    pub fn start(self) {
        write(self.register(BAUD_DIVIDER), CLOCK_HZ / link::BAUD);
        write(self.register(CTRL), RECEIVE_AND_SEND);
    }

    /// A byte that came, if one did; clears its interrupt.
    pub fn receive(self) -> Option<u8> {
        write(self.register(INTERRUPT), RECEIVED);
        let full = read(self.register(STATE)) & RECEIVER_FULL != 0;
        full.then(|| read(self.register(DATA)) as u8)
    }

    /// Sends, and waits for the line: 11 ms for the longest frame.
    pub fn send(self, bytes: &[u8]) {
        for byte in bytes {
            while read(self.register(STATE)) & TRANSMITTER_FULL != 0 {}
            write(self.register(DATA), u32::from(*byte));
        }
    }
}

/// Text on a UART.
pub struct Line(pub Uart);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.send(text.as_bytes());
        Ok(())
    }
}

/// Starts the millisecond, both UARTs and the watchdog.
pub fn start(mut timer: SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CLOCK_HZ / 1000 - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
    Uart::LINK.start();
    Uart::BENCH.start();
    write(INTERRUPT_ENABLE, RECEIVE_INTERRUPTS);
    start_watchdog();
}

pub fn start_watchdog() {
    write(WATCHDOG.wrapping_add(LOCK), UNLOCK);
    write(WATCHDOG.wrapping_add(LOAD), CLOCK_HZ / 1000 * STAGE_MS);
    write(WATCHDOG.wrapping_add(CONTROL), BOTH_STAGES);
}

/// Any write begins the first stage anew.
pub fn feed_watchdog() {
    write(WATCHDOG.wrapping_add(CLEAR), 1);
}

pub fn light(lit: bool) {
    write(LIGHT, u32::from(lit));
}
