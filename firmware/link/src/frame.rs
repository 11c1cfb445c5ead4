//! Framing: COBS, CRC-32C, and a reader that finds its place again after any noise.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest frame in bytes, its delimiter included: 11 ms at 115 200 baud, and a buffer the smallest MCU can spare.
pub const MAX_FRAME: usize = 128;

/// CRC-32C detects every burst of up to 32 bits and every 1 to 3 bit errors at this length (Koopman 2002).
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
const CRC_LEN: usize = 4;

/// Longest body: one COBS code byte (the body is below 254 bytes) and the delimiter are added to it.
const MAX_BODY: usize = MAX_FRAME - 2;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// More than [`MAX_FRAME`] bytes without a delimiter, or a message that would need them.
    TooLong,
    /// COBS, CRC or message do not hold together.
    Damaged,
}

/// One encoded frame, delimiter included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    bytes: [u8; MAX_FRAME],
    len: usize,
}

impl Frame {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// CRC-32C of `bytes`, for what is kept where the link's frames do not reach.
pub fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// The frame of `message`.
pub fn encode<T: Serialize>(message: &T) -> Result<Frame, FrameError> {
    let mut body = [0; MAX_BODY];
    let n = postcard::to_slice(message, &mut body[..MAX_BODY - CRC_LEN])
        .map_err(|_| FrameError::TooLong)?
        .len();
    let crc = checksum(&body[..n]).to_le_bytes();
    body[n..n + CRC_LEN].copy_from_slice(&crc);
    let body = &body[..n + CRC_LEN];

    // Each zero becomes the distance to the next one; the byte before the body holds the first distance.
    let mut bytes = [0; MAX_FRAME];
    let mut code_at = 0;
    for (i, &byte) in body.iter().enumerate() {
        if byte == 0 {
            bytes[code_at] = distance(code_at, i + 1);
            code_at = i + 1;
        } else {
            bytes[i + 1] = byte;
        }
    }
    bytes[code_at] = distance(code_at, body.len() + 1);
    Ok(Frame { bytes, len: body.len() + 2 })
}

/// A COBS code: bodies are shorter than 254 bytes, so the distance always fits.
fn distance(from: usize, to: usize) -> u8 {
    u8::try_from(to - from).expect("a frame is shorter than 254 bytes")
}

/// Takes bytes one at a time and gives a message at each good frame's end.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: [u8; MAX_FRAME],
    len: usize,
    /// The frame under way is too long: everything up to the next delimiter is lost.
    overrun: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Reader { bytes: [0; MAX_FRAME], len: 0, overrun: false }
    }
}

impl Reader {
    /// `None` while a frame is incomplete, and for the empty frames that a sender may use to flush the line.
    pub fn push<T: DeserializeOwned>(&mut self, byte: u8) -> Option<Result<T, FrameError>> {
        if byte != 0 {
            match self.bytes.get_mut(self.len) {
                Some(slot) => {
                    *slot = byte;
                    self.len += 1;
                }
                None => self.overrun = true,
            }
            return None;
        }
        let (len, overrun) = (self.len, self.overrun);
        (self.len, self.overrun) = (0, false);
        match (overrun, len) {
            (true, _) => Some(Err(FrameError::TooLong)),
            (false, 0) => None,
            (false, _) => Some(decode(&mut self.bytes[..len])),
        }
    }
}

/// Undoes COBS in place, checks the CRC and reads exactly one message.
fn decode<T: DeserializeOwned>(bytes: &mut [u8]) -> Result<T, FrameError> {
    let mut code_at = 0;
    while code_at < bytes.len() {
        let next = code_at + usize::from(bytes[code_at]);
        if next == code_at || next > bytes.len() {
            return Err(FrameError::Damaged);
        }
        bytes[code_at] = 0;
        code_at = next;
    }
    let body = &bytes[1..];
    let Some(n) = body.len().checked_sub(CRC_LEN) else {
        return Err(FrameError::Damaged);
    };
    let (message, crc) = body.split_at(n);
    if checksum(message).to_le_bytes() != crc {
        return Err(FrameError::Damaged);
    }
    match postcard::take_from_bytes(message) {
        Ok((message, [])) => Ok(message),
        _ => Err(FrameError::Damaged),
    }
}
