//! An image of the supervisor as it lies in a slot and in a file: a header, then the program.
//!
//! ```text
//! 0    magic                    24 bytes
//! 24   board, slot (0 or 1), version, oldest, length of the program, 0     6 numbers of 4 bytes, little-endian
//! 48   SHA-512 of the program   64 bytes
//! 112  Ed25519 signature by the vendor over bytes 0 to 111 (RFC 8032 section 5.1)
//! 176  0xff                     to the end of the header
//! 1024 the program, linked for this place in its slot
//! ```
//!
//! The processor runs an image where it lies, so an update is a file of two images: one linked for slot A, one for slot B.
//! Computes no digest and checks no signature: the boot stage and the runtime each have their own library for that.

use crate::Slot;

/// Bytes of a slot: two of them, the boot stage and its records fit the 128 KiB of the smallest MCU considered.
pub const SLOT_BYTES: u32 = 48 * 1024;
/// Bytes of the header: the vector table behind it lies where any Cortex-M wants it, at a multiple of 1024.
pub const HEADER: usize = 1024;
/// Bytes that the signature covers, and where it begins.
pub const SIGNED: usize = 112;
pub const DIGEST: usize = 64;
pub const SIGNATURE: usize = 64;
/// QEMU's mps2-an386, and the simulator, which takes its images.
pub const MPS2_AN386: u32 = 0x0386;
/// The product's STM32G431 (ST's device id, RM0440 section 47.6.1).
pub const STM32G431: u32 = 0x0468;

/// The board on whose slot A a program runs at `address`: no two boards have it at the same place.
pub fn board_at(address: u32) -> Option<u32> {
    match address {
        0x2100_1400 => Some(MPS2_AN386),
        0x0800_7400 => Some(STM32G431),
        _ => None,
    }
}

/// No other thing that anybody signs begins so.
const MAGIC: &[u8; 24] = b"sagitta supervisor v1\n\0\0";
const NUMBERS: usize = MAGIC.len();
const DIGEST_AT: usize = SIGNED - DIGEST;

/// What the vendor signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub board: u32,
    pub slot: Slot,
    pub version: u32,
    /// Once this image is confirmed, no older version may run.
    pub oldest: u32,
    /// Bytes of the program.
    pub length: u32,
    /// SHA-512 of the program.
    pub digest: [u8; DIGEST],
}

impl Header {
    /// The bytes to sign.
    pub fn signed(&self) -> [u8; SIGNED] {
        let slot = match self.slot {
            Slot::A => 0,
            Slot::B => 1,
        };
        let numbers = [self.board, slot, self.version, self.oldest, self.length, 0];
        let mut bytes = [0; SIGNED];
        bytes[..NUMBERS].copy_from_slice(MAGIC);
        for (place, number) in bytes[NUMBERS..DIGEST_AT].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[DIGEST_AT..].copy_from_slice(&self.digest);
        bytes
    }

    /// The header as it lies in front of the program.
    pub fn to_bytes(&self, signature: &[u8; SIGNATURE]) -> [u8; HEADER] {
        let mut bytes = [0xff; HEADER];
        bytes[..SIGNED].copy_from_slice(&self.signed());
        bytes[SIGNED..SIGNED + SIGNATURE].copy_from_slice(signature);
        bytes
    }

    /// The header and its signature; `None` where the bytes are none, or a field says what cannot be.
    pub fn parse(bytes: &[u8; HEADER]) -> Option<(Header, [u8; SIGNATURE])> {
        let number = |n: usize| {
            let bytes = bytes[NUMBERS + 4 * n..].first_chunk().expect("six numbers are inside");
            u32::from_le_bytes(*bytes)
        };
        let header = Header {
            board: number(0),
            slot: if number(1) == 0 { Slot::A } else { Slot::B },
            version: number(2),
            oldest: number(3),
            length: number(4),
            digest: *bytes[DIGEST_AT..].first_chunk()?,
        };
        let signature = *bytes[SIGNED..].first_chunk()?;
        let fits = (1..=SLOT_BYTES - HEADER as u32).contains(&header.length);
        // Every byte is as this header is written: two files never mean the same.
        let whole = header.to_bytes(&signature) == *bytes;
        (fits && whole && header.oldest <= header.version).then_some((header, signature))
    }

    /// Bytes of header and program.
    pub fn total(&self) -> u32 {
        HEADER as u32 + self.length
    }
}

/// An image of an update file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image<'a> {
    pub header: Header,
    /// All of it, header included.
    pub bytes: &'a [u8],
}

impl Image<'_> {
    /// The image at the beginning of `file`, and what is behind it.
    fn split(file: &[u8]) -> Option<(Image<'_>, &[u8])> {
        let (header, _) = Header::parse(file.first_chunk()?)?;
        let (bytes, rest) = file.split_at_checked(header.total() as usize)?;
        Some((Image { header, bytes }, rest))
    }
}

/// The images of an update file, for slots A and B; `None` where a header is none or bytes are missing or left over.
pub fn images(file: &[u8]) -> Option<[Image<'_>; 2]> {
    let (a, rest) = Image::split(file)?;
    let (b, rest) = Image::split(rest)?;
    let slots = (a.header.slot, b.header.slot) == (Slot::A, Slot::B);
    (slots && rest.is_empty()).then_some([a, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_OF_B: Header = Header {
        board: MPS2_AN386,
        slot: Slot::B,
        version: 7,
        oldest: 5,
        length: 3,
        digest: [9; DIGEST],
    };

    #[test]
    fn a_header_comes_back_and_any_other_byte_is_seen_or_signed() {
        let bytes = HEADER_OF_B.to_bytes(&[3; SIGNATURE]);
        assert_eq!(Header::parse(&bytes), Some((HEADER_OF_B, [3; SIGNATURE])));
        for at in 0..HEADER {
            let mut changed = bytes;
            changed[at] ^= 0x40;
            let Some((header, signature)) = Header::parse(&changed) else { continue };
            let signed = header.signed() != HEADER_OF_B.signed();
            assert!(signed || signature != [3; SIGNATURE], "byte {at} means nothing");
        }
    }

    #[test]
    fn what_cannot_be_is_no_header() {
        let parse = |header: Header| Header::parse(&header.to_bytes(&[0; SIGNATURE]));
        assert_eq!(parse(Header { length: 0, ..HEADER_OF_B }), None);
        assert_eq!(parse(Header { length: SLOT_BYTES - 1023, ..HEADER_OF_B }), None);
        assert_eq!(parse(Header { length: u32::MAX, ..HEADER_OF_B }), None);
        assert_eq!(parse(Header { oldest: 8, ..HEADER_OF_B }), None);
        assert_eq!(Header::parse(&[0xff; HEADER]), None);
    }

    #[test]
    fn a_file_is_two_whole_images() {
        let (mut file, mut len) = ([0; 2 * (HEADER + 3)], 0);
        for slot in [Slot::A, Slot::B] {
            let header = Header { slot, ..HEADER_OF_B };
            file[len..len + HEADER].copy_from_slice(&header.to_bytes(&[0; SIGNATURE]));
            len += HEADER + 3;
        }
        let [a, b] = images(&file).unwrap();
        assert_eq!((a.header.slot, a.bytes.len(), b.header.slot), (Slot::A, HEADER + 3, Slot::B));
        for cut in 0..file.len() {
            assert_eq!(images(&file[..cut]), None, "cut at {cut}");
        }
    }
}
