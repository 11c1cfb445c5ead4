//! Messages of the ISMRMRD streaming protocol, version 1, and their bytes: little-endian, no length around a message, so what
//! is unknown cannot be skipped. Knows no sockets: bytes are fed as they come.

use super::header::{HEADER_BYTES, ImageHeader};
use thiserror::Error;

/// Most bytes of a text: headers of real measurements are below 1 MiB.
pub const MAX_TEXT_BYTES: usize = 16 << 20;
/// Most bytes of the attributes of an image: a real one has 185 KB (scanner-side design, section 2).
pub const MAX_ATTRIBUTE_BYTES: usize = 4 << 20;
/// Most bytes of the pixels of an image, and of the samples of a readout.
pub const MAX_PIXEL_BYTES: usize = 256 << 20;
/// Largest matrix along each axis.
pub const MAX_MATRIX: usize = 4096;
/// Bytes of a CONFIG_FILE: a name, padded with NUL.
const CONFIG_FILE_BYTES: usize = 1024;
/// Header of an ACQUISITION, and where it says how long the rest is.
const ACQUISITION_BYTES: usize = 340;
const ACQUISITION_SAMPLES: usize = 34;
const ACQUISITION_CHANNELS: usize = 38;
const ACQUISITION_DIMENSIONS: usize = 176;
/// Header of a WAVEFORM, aligned as a C compiler does it.
const WAVEFORM_BYTES: usize = 40;
const WAVEFORM_SAMPLES: usize = 28;
const WAVEFORM_CHANNELS: usize = 30;
/// Bytes of a number before a text, and before attributes.
const TEXT_LENGTH: usize = 4;
const ATTRIBUTE_LENGTH: usize = 8;
/// Bytes of the number that begins a message.
const ID_BYTES: usize = 2;

/// Numbers of messages.
mod id {
    pub(super) const CONFIG_FILE: u16 = 1;
    pub(super) const CONFIG_TEXT: u16 = 2;
    pub(super) const METADATA: u16 = 3;
    pub(super) const CLOSE: u16 = 4;
    pub(super) const TEXT: u16 = 5;
    pub(super) const ACQUISITION: u16 = 1008;
    pub(super) const IMAGE: u16 = 1022;
    pub(super) const WAVEFORM: u16 = 1026;
    /// Forms of images and readouts that nobody sends any more.
    pub(super) const DEPRECATED: [std::ops::RangeInclusive<u16>; 2] = [1001..=1007, 1009..=1021];
}

/// Why the bytes of a peer cannot be read any further: its move.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("message {0} is of a form that is no longer in use")]
    Deprecated(u16),
    #[error("message {0} is not known")]
    Unknown(u16),
    #[error("a text of {0} bytes; at most {MAX_TEXT_BYTES} are taken")]
    Text(usize),
    #[error("attributes of {0} bytes; at most {MAX_ATTRIBUTE_BYTES} are taken")]
    Attributes(u64),
    #[error("a matrix of {0:?}; each must be 1 to {MAX_MATRIX}")]
    Matrix([u16; 3]),
    #[error("{0} channels")]
    Channels(u16),
    #[error("data type {0} is not known")]
    DataType(u16),
    #[error("{0} bytes of samples; at most {MAX_PIXEL_BYTES} are taken")]
    Samples(u64),
}

/// An image as it came; what is not looked at goes back as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    pub header: ImageHeader,
    /// ismrmrdMeta XML, or nothing.
    pub attributes: Vec<u8>,
    pub pixels: Vec<u8>,
}

impl std::fmt::Debug for Image {
    /// Attributes may hold patient data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({:?}, {} bytes)", self.header, self.pixels.len())
    }
}

/// A message of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Name or text of a configuration.
    Config(String),
    /// The ismrmrdHeader; some clients send a text that is none.
    Metadata(String),
    Text(String),
    Image(Box<Image>),
    /// A readout or a waveform, left out: results are made of images.
    Skipped,
    Close,
}

/// Cuts messages out of bytes that come in any pieces. After an error nothing more can be read.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that belong to messages already handed out.
    taken: usize,
    /// Bytes of the message under way as far as it tells.
    wanted: usize,
    /// Bytes of samples to be left out.
    skipping: usize,
}

impl Reader {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let skipped = self.skipping.min(bytes.len());
        self.skipping -= skipped;
        self.buffer.extend_from_slice(&bytes[skipped..]);
    }

    /// How many bytes the message under way takes here, as far as those that came tell; 0 between two messages.
    pub fn wanted(&self) -> usize {
        if self.rest().is_empty() { 0 } else { self.wanted }
    }

    /// Whether part of a message has come.
    pub fn is_within(&self) -> bool {
        !self.rest().is_empty() || self.skipping > 0
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// The next whole message.
    pub fn message(&mut self) -> Result<Option<Message>, WireError> {
        match parse(self.rest())? {
            Step::Whole(message, bytes) => {
                self.taken += bytes;
                self.wanted = 0;
                Ok(Some(message))
            }
            Step::Skip(bytes) => {
                let here = bytes.min(self.rest().len());
                self.taken += here;
                self.skipping = bytes - here;
                self.wanted = 0;
                Ok(Some(Message::Skipped))
            }
            Step::Wants(bytes) => {
                self.wanted = bytes;
                Ok(None)
            }
        }
    }
}

/// What can be done with the bytes that are here.
enum Step {
    /// A message, and the bytes it had.
    Whole(Message, usize),
    /// So many bytes are to be left out, those to come among them.
    Skip(usize),
    /// Not before so many bytes are here.
    Wants(usize),
}

fn parse(bytes: &[u8]) -> Result<Step, WireError> {
    let Some((number, body)) = bytes.split_first_chunk() else { return Ok(Step::Wants(ID_BYTES)) };
    let step = match u16::from_le_bytes(*number) {
        id::CONFIG_FILE => match body.get(..CONFIG_FILE_BYTES) {
            Some(name) => Step::Whole(Message::Config(words(name)), CONFIG_FILE_BYTES),
            None => Step::Wants(CONFIG_FILE_BYTES),
        },
        id::CONFIG_TEXT => text(body, Message::Config)?,
        id::METADATA => text(body, Message::Metadata)?,
        id::TEXT => text(body, Message::Text)?,
        id::CLOSE => Step::Whole(Message::Close, 0),
        id::IMAGE => image(body)?,
        id::ACQUISITION => acquisition(body)?,
        id::WAVEFORM => waveform(body)?,
        other if id::DEPRECATED.iter().any(|range| range.contains(&other)) => {
            return Err(WireError::Deprecated(other));
        }
        other => return Err(WireError::Unknown(other)),
    };
    Ok(match step {
        Step::Whole(message, bytes) => Step::Whole(message, ID_BYTES + bytes),
        Step::Skip(bytes) => Step::Skip(ID_BYTES + bytes),
        Step::Wants(bytes) => Step::Wants(ID_BYTES + bytes),
    })
}

/// Text up to its NUL, whatever its bytes are.
fn words(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn text(body: &[u8], message: fn(String) -> Message) -> Result<Step, WireError> {
    let Some((length, rest)) = body.split_first_chunk() else {
        return Ok(Step::Wants(TEXT_LENGTH));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_TEXT_BYTES {
        return Err(WireError::Text(length));
    }
    let whole = TEXT_LENGTH + length;
    Ok(rest
        .get(..length)
        .map_or(Step::Wants(whole), |text| Step::Whole(message(words(text)), whole)))
}

fn image(body: &[u8]) -> Result<Step, WireError> {
    let fixed = HEADER_BYTES + ATTRIBUTE_LENGTH;
    let Some((header, rest)) = body.split_first_chunk() else { return Ok(Step::Wants(fixed)) };
    let header = ImageHeader::new(*header);
    let pixels = pixel_bytes(&header)?;
    let Some((length, rest)) = rest.split_first_chunk() else { return Ok(Step::Wants(fixed)) };
    let length = u64::from_le_bytes(*length);
    let attributes = usize::try_from(length).unwrap_or(usize::MAX);
    if attributes > MAX_ATTRIBUTE_BYTES {
        return Err(WireError::Attributes(length));
    }
    let whole = fixed + attributes + pixels;
    let Some(rest) = rest.get(..attributes + pixels) else { return Ok(Step::Wants(whole)) };
    let (attributes, pixels) = rest.split_at(attributes);
    let image = Image { header, attributes: attributes.to_vec(), pixels: pixels.to_vec() };
    Ok(Step::Whole(Message::Image(Box::new(image)), whole))
}

/// Bytes of the pixels that a header announces.
fn pixel_bytes(header: &ImageHeader) -> Result<usize, WireError> {
    let matrix = header.matrix();
    if matrix.iter().any(|&n| n == 0 || usize::from(n) > MAX_MATRIX) {
        return Err(WireError::Matrix(matrix));
    }
    let channels = header.channels();
    if channels == 0 {
        return Err(WireError::Channels(channels));
    }
    let number = header.data_type();
    let size = number.ok_or(WireError::DataType(header.data_type_number()))?.bytes();
    let pixels = matrix.iter().map(|&n| u64::from(n)).product::<u64>();
    // At most 2^36 pixels, 2^16 channels, 2^4 bytes.
    within(pixels * u64::from(channels) * size as u64)
}

fn acquisition(body: &[u8]) -> Result<Step, WireError> {
    let Some(header) = body.get(..ACQUISITION_BYTES) else {
        return Ok(Step::Wants(ACQUISITION_BYTES));
    };
    let samples = u16_at(header, ACQUISITION_SAMPLES);
    let values = 2 * u16_at(header, ACQUISITION_CHANNELS) + u16_at(header, ACQUISITION_DIMENSIONS);
    Ok(Step::Skip(ACQUISITION_BYTES + within(samples * values * size_of::<f32>() as u64)?))
}

fn waveform(body: &[u8]) -> Result<Step, WireError> {
    let Some(header) = body.get(..WAVEFORM_BYTES) else { return Ok(Step::Wants(WAVEFORM_BYTES)) };
    let values = u16_at(header, WAVEFORM_SAMPLES) * u16_at(header, WAVEFORM_CHANNELS);
    Ok(Step::Skip(WAVEFORM_BYTES + within(values * size_of::<u32>() as u64)?))
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn within(bytes: u64) -> Result<usize, WireError> {
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= MAX_PIXEL_BYTES => Ok(bytes),
        _ => Err(WireError::Samples(bytes)),
    }
}

/// The bytes of a CLOSE.
pub fn close() -> Vec<u8> {
    id::CLOSE.to_le_bytes().to_vec()
}

/// The bytes of a TEXT: a line for the scanner's log, its level padded to eight characters.
pub fn log_line(level: Level, line: &str) -> Vec<u8> {
    let text = format!("{:<8}{line}\0", level.name());
    let mut bytes = id::TEXT.to_le_bytes().to_vec();
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// How much a line of the scanner's log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        }
    }
}

impl Image {
    /// How many bytes its message has.
    pub fn message_bytes(&self) -> usize {
        let fixed = ID_BYTES + HEADER_BYTES + ATTRIBUTE_LENGTH;
        fixed + self.attributes.len() + self.pixels.len()
    }

    /// The bytes of an IMAGE. Those of an image that came are the same again.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.message_bytes());
        bytes.extend_from_slice(&id::IMAGE.to_le_bytes());
        bytes.extend_from_slice(self.header.bytes());
        bytes.extend_from_slice(&(self.attributes.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.attributes);
        bytes.extend_from_slice(&self.pixels);
        bytes
    }
}
