//! The part of the MCU's flash that holds the records and the slots, behind the boot stage.
//!
//! The flash has one bank: while a page is erased (22 ms) or a word is written, the processor waits, and the UART keeps eight
//! bytes. The computer sends a chunk of an image only after the answer to the one before, so nothing is lost but time.

use embassy_stm32::flash::{Blocking, Error, FLASH_BASE, Flash};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use firmware::slots::{FLASH_BYTES, offset};
use link::Slot;
use link::image::HEADER;

/// Where the records begin, from the start of the flash: behind the boot stage.
const BEGIN: u32 = 24 * 1024;

/// The records and slots: offset 0 is [`BEGIN`].
pub struct Kept(pub Flash<'static, Blocking>);

impl ErrorType for Kept {
    type Error = Error;
}

impl ReadNorFlash for Kept {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        self.0.blocking_read(BEGIN + offset, bytes)
    }

    fn capacity(&self) -> usize {
        FLASH_BYTES as usize
    }
}

impl NorFlash for Kept {
    const WRITE_SIZE: usize = firmware::flash::WORD;
    const ERASE_SIZE: usize = firmware::flash::SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        self.0.blocking_erase(BEGIN + from, BEGIN + to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        self.0.blocking_write(BEGIN + offset, bytes)
    }
}

/// Where the program in `slot` has its vector table.
pub fn vectors(slot: Slot) -> usize {
    FLASH_BASE + (BEGIN + offset(slot)) as usize + HEADER
}
