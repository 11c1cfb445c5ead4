//! Stored samples -> intensities: the values of a frame as a scanner wrote them, rescaled.
//!
//! Compressed frames are unpacked before, and headers are read elsewhere.

/// Bytes of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    One,
    /// The lower byte first.
    Two,
}

impl Width {
    pub fn bytes(self) -> usize {
        match self {
            Width::One => 1,
            Width::Two => 2,
        }
    }
}

/// How samples are stored (DICOM PS3.3 C.7.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samples {
    width: Width,
    bits_stored: u32,
    signed: bool,
}

impl Samples {
    /// The lowest `bits_stored` bits are the value; `None` where there are not as many.
    pub fn new(width: Width, bits_stored: u32, signed: bool) -> Option<Samples> {
        let fits = (1..=8 * width.bytes() as u32).contains(&bits_stored);
        fits.then_some(Samples { width, bits_stored, signed })
    }

    pub fn width(self) -> Width {
        self.width
    }

    pub fn bits_stored(self) -> u32 {
        self.bits_stored
    }

    pub fn signed(self) -> bool {
        self.signed
    }

    /// Bits of a 16-bit word above the value: shifted out, with the sign brought down again.
    pub(crate) fn spare_bits(self) -> u32 {
        16 - self.bits_stored
    }
}

/// `slope * stored + intercept`, in double precision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rescale {
    pub slope: f64,
    pub intercept: f64,
}

/// One frame as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub bytes: &'a [u8],
    pub samples: Samples,
    pub rescale: Rescale,
}

impl Frame<'_> {
    /// Whole samples.
    pub fn pixels(&self) -> usize {
        self.bytes.len() / self.samples.width.bytes()
    }
}

/// The intensities of a frame, in the order of its samples. Bits above the stored ones are not part of a value (PS3.5 8.1.1).
pub fn intensities(frame: &Frame) -> Vec<f32> {
    let Frame { bytes, samples, rescale: Rescale { slope, intercept } } = *frame;
    let spare = samples.spare_bits();
    let signed = |raw: u16| (slope * f64::from((raw << spare) as i16 >> spare) + intercept) as f32;
    let unsigned = |raw: u16| (slope * f64::from(raw << spare >> spare) + intercept) as f32;
    let words = || bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let single = || bytes.iter().map(|&byte| u16::from(byte));
    // The choice stands outside of the loops, which are vectors.
    match (samples.width, samples.signed) {
        (Width::One, true) => single().map(signed).collect(),
        (Width::One, false) => single().map(unsigned).collect(),
        (Width::Two, true) => words().map(signed).collect(),
        (Width::Two, false) => words().map(unsigned).collect(),
    }
}
