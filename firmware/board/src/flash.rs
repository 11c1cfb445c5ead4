//! The board's flash: it has none that can be written, so a part of its PSRAM is treated as flash (`firmware::flash`). It
//! survives a reset, and a power-off where QEMU keeps it in a file.

use firmware::Slots;
use firmware::flash::Memory;
use firmware::slots::{FLASH_BYTES, offset};
use link::Slot;
use link::image::HEADER;

/// Where the PSRAM begins (Arm DAI 0386, table 3-1).
const BASE: usize = 0x2100_0000;

/// The slots. Called once, by `main`.
pub fn slots() -> Slots<Memory<'static>> {
    // SAFETY: this part of the PSRAM is valid for any content, and nobody else writes it: `slots` is called once, by `main`.
    // The running program is in it and is only read: nothing writes the slot that runs.
    let bytes = unsafe { core::slice::from_raw_parts_mut(BASE as *mut u8, FLASH_BYTES as usize) };
    Slots::new(Memory::new(bytes))
}

/// Where the program in `slot` has its vector table.
pub fn vectors(slot: Slot) -> usize {
    BASE + offset(slot) as usize + HEADER
}
