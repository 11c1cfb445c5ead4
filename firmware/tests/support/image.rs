//! Signed images, and a flash whose power can go.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use firmware::bench::VENDOR_SEED;
use firmware::flash::{Memory, SECTOR, WORD};
use firmware::slots::{FLASH_BYTES, offset};
use link::Slot;
use link::image::{Header, MPS2_AN386};

/// A header for a program of some bytes that differ from version to version.
pub fn header(slot: Slot, version: u32, oldest: u32, program: &[u8]) -> Header {
    let mut digest = salty::Sha512::new();
    digest.update(program);
    let (length, digest) = (program.len() as u32, digest.finalize());
    Header { board: MPS2_AN386, slot, version, oldest, length, digest }
}

pub fn program(version: u32) -> Vec<u8> {
    (0..301 + version).map(|n| (n * 7 + version) as u8).collect()
}

/// The image of a header, signed with `seed`.
pub fn signed(header: &Header, program: &[u8], seed: &[u8; 32]) -> Vec<u8> {
    let signature = salty::Keypair::from(seed).sign(&header.signed()).to_bytes();
    [header.to_bytes(&signature).as_slice(), program].concat()
}

/// A good image.
pub fn image(slot: Slot, version: u32, oldest: u32) -> Vec<u8> {
    let program = program(version);
    signed(&header(slot, version, oldest, &program), &program, &VENDOR_SEED)
}

/// A flash as it leaves the factory: one image in slot A, no record.
pub fn factory(image: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; FLASH_BYTES as usize];
    bytes[offset(Slot::A) as usize..][..image.len()].copy_from_slice(image);
    bytes
}

/// A flash that dies in the middle of its `left`th erasure or word, and leaves that one in any state.
pub struct Mortal<'a> {
    pub bytes: &'a mut Vec<u8>,
    pub left: &'a mut u32,
    pub seed: u64,
}

impl Mortal<'_> {
    fn is_dead(&self) -> bool {
        *self.left == 0
    }

    fn random(&mut self) -> u8 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 32) as u8
    }

    /// Counts an operation on `bytes` from `from` on. The last one changes some bits of them and no others.
    fn operate(&mut self, from: usize, after: &[u8]) -> Result<(), NorFlashErrorKind> {
        if self.is_dead() {
            return Err(NorFlashErrorKind::Other);
        }
        *self.left -= 1;
        if !self.is_dead() {
            return Ok(());
        }
        for (at, after) in (from..).zip(after) {
            // Half of the time a bit has gone all the way, or none, or all of it.
            let changed = match self.seed % 3 {
                0 => self.random(),
                1 => 0xff * (self.random() & 1),
                _ => 0xff,
            };
            let before = self.bytes[at];
            self.bytes[at] = before ^ ((before ^ after) & changed);
        }
        Err(NorFlashErrorKind::Other)
    }
}

impl ErrorType for Mortal<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Mortal<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        if self.is_dead() {
            return Err(NorFlashErrorKind::Other);
        }
        Memory::new(self.bytes).read(offset, bytes).map_err(|_| NorFlashErrorKind::OutOfBounds)
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Mortal<'_> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        for sector in (from..to).step_by(SECTOR) {
            self.operate(sector as usize, &[0xff; SECTOR])?;
            let end = sector + SECTOR as u32;
            Memory::new(self.bytes).erase(sector, end).expect("the code erases whole sectors");
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        for (at, word) in (offset..).step_by(WORD).zip(bytes.chunks(WORD)) {
            self.operate(at as usize, word)?;
            Memory::new(self.bytes).write(at, word).expect("the code writes erased words");
        }
        Ok(())
    }
}
