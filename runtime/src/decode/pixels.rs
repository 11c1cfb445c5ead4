//! Pixel data -> intensities: native, RLE and lossless JPEG; 8 and 16 bit, signed and unsigned.

use super::public::Encoded;
use dicom_core::value::C;
use dicom_dictionary_std::uids;
use dicom_encoding::adapters::{PixelDataObject, RawPixelData};
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
use kernels::stored::{Frame as Stored, Rescale, Samples, Width, intensities};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Largest matrix side: MR images have at most 1024, and a decoder may not be asked for gigabytes.
pub(super) const MAX_SIDE: u16 = 4096;

/// How the stored values of a frame are laid out (PS3.3 C.7.6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) transfer_syntax: String,
    pub(super) columns: u16,
    pub(super) rows: u16,
    pub(super) bits_allocated: u16,
    pub(super) bits_stored: u16,
    pub(super) signed: bool,
    pub(super) frames: u32,
}

impl Layout {
    /// Of one frame.
    pub(super) fn pixels(&self) -> usize {
        usize::from(self.columns) * usize::from(self.rows)
    }

    fn frame_bytes(&self) -> usize {
        self.pixels() * usize::from(self.bits_allocated / 8)
    }
}

/// Stored values of frame `frame` (from 0), rescaled: `slope * stored + intercept`. Columns fastest.
pub(super) fn frame(
    encoded: &Encoded<'_>,
    layout: &Layout,
    frame: u32,
    [slope, intercept]: [f64; 2],
) -> Result<Vec<f32>, String> {
    let bytes = match encoded {
        Encoded::Native(bytes) => Cow::Borrowed(native(bytes, layout, frame)?),
        Encoded::Fragments(fragments) => Cow::Owned(decoded(fragments, layout, frame)?),
    };
    let width = if layout.bits_allocated == 8 { Width::One } else { Width::Two };
    let samples = Samples::new(width, layout.bits_stored.into(), layout.signed)
        .ok_or("the stored bits are not those of a sample")?;
    let rescale = Rescale { slope, intercept };
    Ok(intensities(&Stored { bytes: &bytes, samples, rescale }))
}

fn native<'a>(bytes: &'a [u8], layout: &Layout, frame: u32) -> Result<&'a [u8], String> {
    let length = layout.frame_bytes();
    let start = (frame as usize).checked_mul(length);
    start
        .and_then(|start| bytes.get(start..start.checked_add(length)?))
        .ok_or_else(|| "the pixel data are shorter than rows, columns and frames say".to_owned())
}

/// One compressed frame as native bytes.
fn decoded(fragments: &[&[u8]], layout: &Layout, frame: u32) -> Result<Vec<u8>, String> {
    let unreadable = || "the compressed pixel data cannot be read".to_owned();
    let bytes: Vec<u8> = match layout.frames {
        // A single frame may be cut into fragments anywhere; several have one each (PS3.5 A.4).
        1 => fragments.concat(),
        frames if fragments.len() == frames as usize => fragments[frame as usize].to_vec(),
        _ => return Err("compressed frames are not one fragment each".to_owned()),
    };
    if layout.transfer_syntax == uids::RLE_LOSSLESS {
        return unpack_rle(&bytes, layout).ok_or_else(unreadable);
    }
    if jpeg_size(&bytes) != Some([layout.columns, layout.rows]) {
        return Err("the size in the compressed image is not that of the header".to_owned());
    }
    let codec = TransferSyntaxRegistry
        .get(&layout.transfer_syntax)
        .and_then(|syntax| syntax.pixel_data_reader())
        .ok_or("no decoder for this transfer syntax")?;
    let source = Frame { layout, bytes };
    let mut out = Vec::new();
    // The adapter indexes without checks where the stream disagrees with the header: its panic is a bad image, not our end.
    catch_unwind(AssertUnwindSafe(|| codec.decode(&source, &mut out)))
        .map_err(|_| unreadable())?
        .map_err(|_| unreadable())?;
    if out.len() < layout.frame_bytes() {
        return Err(unreadable());
    }
    out.truncate(layout.frame_bytes());
    Ok(out)
}

/// RLE of one frame (PS3.5 annex G): byte planes, most significant first, each packed. Ours, because the registry's
/// decoder panics on every short stream.
fn unpack_rle(bytes: &[u8], layout: &Layout) -> Option<Vec<u8>> {
    /// The header: a count and 15 offsets of 32 bits.
    const HEADER: usize = 64;
    let word = |n: usize| {
        let word: [u8; 4] = bytes.get(4 * n..4 * n + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(word) as usize)
    };
    let planes = usize::from(layout.bits_allocated / 8);
    if bytes.len() < HEADER || word(0)? != planes {
        return None;
    }
    let mut out = vec![0; layout.frame_bytes()];
    for plane in 0..planes {
        let end = if plane + 1 < planes { word(plane + 2)? } else { bytes.len() };
        let mut segment = bytes.get(word(plane + 1)?..end)?.iter();
        let mut target = out.iter_mut().skip(planes - 1 - plane).step_by(planes);
        let mut left = layout.pixels();
        while left > 0 {
            // 0..=127: that many and one literal bytes; 129..=255: 257 minus that many copies; 128: nothing.
            let control = usize::from(*segment.next()?);
            let run = match control {
                0..=127 => control + 1,
                128 => continue,
                _ => 257 - control,
            };
            let copied = if control > 128 { Some(*segment.next()?) } else { None };
            for _ in 0..run.min(left) {
                *target.next()? = match copied {
                    Some(byte) => byte,
                    None => *segment.next()?,
                };
            }
            left -= run.min(left);
        }
    }
    Some(out)
}

/// Columns and rows of the frame header of a JPEG stream (ITU T.81 B.2.2). The decoder allocates what it says.
fn jpeg_size(bytes: &[u8]) -> Option<[u16; 2]> {
    let mut at = 2; // after SOI
    loop {
        let [0xFF, marker] = *bytes.get(at..at + 2)? else { return None };
        let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        match marker {
            0xFF => at += 1,
            // SOF0..15 without DHT, JPG and DAC, which lie between.
            0xC0..=0xCF if ![0xC4, 0xC8, 0xCC].contains(&marker) => {
                return Some([word(at + 7)?, word(at + 5)?]);
            }
            _ => at += 2 + usize::from(word(at + 2)?),
        }
    }
}

/// One compressed frame, as the registry's codecs want to see it.
struct Frame<'a> {
    layout: &'a Layout,
    bytes: Vec<u8>,
}

impl PixelDataObject for Frame<'_> {
    fn transfer_syntax_uid(&self) -> &str {
        &self.layout.transfer_syntax
    }

    fn rows(&self) -> Option<u16> {
        Some(self.layout.rows)
    }

    fn cols(&self) -> Option<u16> {
        Some(self.layout.columns)
    }

    fn samples_per_pixel(&self) -> Option<u16> {
        Some(1)
    }

    fn bits_allocated(&self) -> Option<u16> {
        Some(self.layout.bits_allocated)
    }

    fn bits_stored(&self) -> Option<u16> {
        Some(self.layout.bits_stored)
    }

    fn photometric_interpretation(&self) -> Option<&str> {
        Some("MONOCHROME2")
    }

    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }

    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }

    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(self.bytes.as_slice()))
    }

    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        None
    }

    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        let fragments: C<Vec<u8>> = std::iter::once(self.bytes.clone()).collect();
        Some(RawPixelData { fragments, offset_table: C::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bits: u16, stored: u16, signed: bool) -> Layout {
        Layout {
            transfer_syntax: "1.2.840.10008.1.2.1".to_owned(),
            columns: 2,
            rows: 1,
            bits_allocated: bits,
            bits_stored: stored,
            signed,
            frames: 2,
        }
    }

    #[test]
    fn stored_bits_sign_and_rescale_are_applied() {
        let bytes = [0xFF, 0xFF, 0x01, 0x00, 0xFF, 0x0F, 0x00, 0x08];
        let native = Encoded::Native(&bytes);
        let values = |layout: &Layout, n| frame(&native, layout, n, [1.0, 0.0]).unwrap();
        assert_eq!(values(&layout(16, 16, false), 0), [65535.0, 1.0]);
        assert_eq!(values(&layout(16, 16, true), 0), [-1.0, 1.0]);
        assert_eq!(values(&layout(16, 12, false), 0), [4095.0, 1.0], "upper bits are not data");
        assert_eq!(values(&layout(16, 12, true), 1), [-1.0, -2048.0]);
        assert_eq!(values(&layout(8, 8, true), 0), [-1.0, -1.0]);
        assert_eq!(frame(&native, &layout(8, 8, false), 1, [2.0, -1.0]).unwrap(), [1.0, -1.0]);
        assert!(frame(&native, &layout(16, 16, false), 2, [1.0, 0.0]).is_err(), "truncated");
    }

    #[test]
    fn damaged_compressed_frames_are_errors() {
        let rle = Layout {
            transfer_syntax: "1.2.840.10008.1.2.5".to_owned(),
            frames: 1,
            ..layout(16, 16, false)
        };
        let mut short = vec![0; 64];
        (short[0], short[4], short[8]) = (2, 64, 66);
        short.extend([0xFF, 7, 0x00, 7]);
        for bytes in [&b""[..], b"abc", &short] {
            assert!(frame(&Encoded::Fragments(vec![bytes]), &rle, 0, [1.0, 0.0]).is_err());
        }
        short[67] = 0x09;
        short[66] = 0xFF;
        let whole = frame(&Encoded::Fragments(vec![&short]), &rle, 0, [1.0, 0.0]);
        assert_eq!(whole.unwrap(), [1801.0, 1801.0], "0x0709 twice");
        let jpeg = Layout { transfer_syntax: "1.2.840.10008.1.2.4.70".to_owned(), ..rle };
        let bomb = b"\xFF\xD8\xFF\xC3\x00\x0B\x10\xFF\xFF\xFF\xFF\x01\x01\x11\x00";
        assert_eq!(jpeg_size(bomb), Some([65535, 65535]));
        for bytes in [&b""[..], b"\xFF\xD8", bomb] {
            assert!(frame(&Encoded::Fragments(vec![bytes]), &jpeg, 0, [1.0, 0.0]).is_err());
        }
    }
}
