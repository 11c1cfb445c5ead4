//! Memory that behaves as flash: erased a sector at a time to ones, written a word at a time, each word once.
//!
//! For what has no flash of its own: QEMU's board, the simulator, tests.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Bytes that are erased together, and that are written together: as the STM32G4's (RM0440 section 3.3).
pub const SECTOR: usize = 2048;
pub const WORD: usize = 8;
/// An erased byte.
pub const ERASED: u8 = 0xff;

/// Bytes as flash.
#[derive(Debug)]
pub struct Memory<'a>(&'a mut [u8]);

impl<'a> Memory<'a> {
    /// `bytes`: a whole number of sectors, with any content.
    pub fn new(bytes: &'a mut [u8]) -> Memory<'a> {
        Memory(bytes)
    }
}

/// What flash does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryError {
    /// No whole words or sectors, or beyond the end.
    Place(NorFlashErrorKind),
    /// A word that is not erased.
    Written,
}

impl NorFlashError for MemoryError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            MemoryError::Place(kind) => *kind,
            MemoryError::Written => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for MemoryError {
    fn from(kind: NorFlashErrorKind) -> MemoryError {
        MemoryError::Place(kind)
    }
}

impl ErrorType for Memory<'_> {
    type Error = MemoryError;
}

impl ReadNorFlash for Memory<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemoryError> {
        embedded_storage::nor_flash::check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Memory<'_> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), MemoryError> {
        embedded_storage::nor_flash::check_erase(self, from, to)?;
        self.0[from as usize..to as usize].fill(ERASED);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemoryError> {
        embedded_storage::nor_flash::check_write(self, offset, bytes.len())?;
        let words = &mut self.0[offset as usize..][..bytes.len()];
        if words.iter().any(|byte| *byte != ERASED) {
            return Err(MemoryError::Written);
        }
        words.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_no_kinder_than_flash() {
        let mut bytes = [0; 2 * SECTOR];
        let mut flash = Memory::new(&mut bytes);
        assert_eq!(flash.write(0, &[1; WORD]), Err(MemoryError::Written));
        flash.erase(0, SECTOR as u32).unwrap();
        flash.write(8, &[1; WORD]).unwrap();
        assert_eq!(flash.write(8, &[1; WORD]), Err(MemoryError::Written));
        for bad in [flash.write(4, &[1; WORD]), flash.write(16, &[1; 4]), flash.erase(8, 16)] {
            assert!(matches!(bad, Err(MemoryError::Place(_))), "{bad:?}");
        }
        assert!(flash.erase(SECTOR as u32, 3 * SECTOR as u32).is_err());
        assert!(flash.read(4090, &mut [0; 8]).is_err());
    }
}
