//! One file of a series: its class and encoding checked, its header parsed, its pixels still in the file.

use super::geometry::{FrameView, integer, text};
use super::pixels::{self, Layout};
use super::public::{self, Encoded, Public};
use crate::ingest::header::is_uid;
use crate::part10;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use pipeline::{Refusal, RefusalCode};

/// One MR object.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    /// Without pixel data and private elements.
    pub(super) header: InMemDicomObject,
    pub(super) pixels: Encoded<'a>,
    pub(super) layout: Layout,
    /// Of an Enhanced MR object; a classic one has one frame.
    enhanced: bool,
}

fn refuse<T>(code: RefusalCode, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, text))
}

impl<'a> Instance<'a> {
    /// Reads a DICOM file (PS3.10).
    ///
    /// # Errors
    /// What is no readable MR image without loss.
    pub(super) fn read(file: &'a [u8]) -> Result<Instance<'a>, Refusal> {
        let unreadable = |text: String| Refusal::new(RefusalCode::UnreadablePixels, text);
        let (transfer_syntax, data_set) =
            part10::split(file).map_err(|error| unreadable(error.to_string()))?;
        if is_lossy(&transfer_syntax) {
            return refuse(RefusalCode::Lossy, "the images are compressed with loss");
        }
        let Public { header, pixels } =
            public::split(data_set, &transfer_syntax).map_err(unreadable)?;
        let enhanced = admit(&header)?;
        let layout = layout(&header, transfer_syntax)?;
        if !enhanced && layout.frames != 1 {
            return refuse(RefusalCode::WrongClass, "several frames in a class of single frames");
        }
        let pixels = pixels.ok_or_else(|| unreadable("there are no pixel data".to_owned()))?;
        Ok(Instance { header, pixels, layout, enhanced })
    }

    /// Attributes of frame `frame`, from 0.
    pub(super) fn view(&self, frame: u32) -> FrameView<'_> {
        match self.enhanced {
            true => FrameView::enhanced(&self.header, frame as usize),
            false => FrameView::classic(&self.header),
        }
    }

    /// What references call frame `frame`: its number from 1, and nothing in a classic image.
    pub(super) fn number(&self, frame: u32) -> Option<u32> {
        self.enhanced.then_some(frame + 1)
    }
}

/// Class, lossy history and UIDs of an instance. Returns whether it is Enhanced MR.
fn admit(header: &InMemDicomObject) -> Result<bool, Refusal> {
    let class = text(header, tags::SOP_CLASS_UID);
    if class != uids::MR_IMAGE_STORAGE && class != uids::ENHANCED_MR_IMAGE_STORAGE {
        return refuse(RefusalCode::WrongClass, "not an MR image");
    }
    if text(header, tags::LOSSY_IMAGE_COMPRESSION) == "01" {
        return refuse(RefusalCode::Lossy, "the images were compressed with loss before");
    }
    let mut named = [tags::SOP_INSTANCE_UID, tags::SERIES_INSTANCE_UID].into_iter();
    if !named.all(|tag| is_uid(&text(header, tag))) {
        return refuse(RefusalCode::UnreadablePixels, "an instance without valid UIDs");
    }
    Ok(class == uids::ENHANCED_MR_IMAGE_STORAGE)
}

/// Transfer syntaxes whose pixels are not what the scanner made.
fn is_lossy(transfer_syntax: &str) -> bool {
    matches!(
        transfer_syntax,
        uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEGLS_NEAR_LOSSLESS
            | uids::JPEG2000
            | uids::JPEGXL
    )
}

/// Image Pixel module (PS3.3 C.7.6.3) of a grey image.
fn layout(header: &InMemDicomObject, transfer_syntax: String) -> Result<Layout, Refusal> {
    let unreadable = |text: String| refuse(RefusalCode::UnreadablePixels, text);
    let number = |tag| integer(header, tag);
    let side = |tag| {
        number(tag)
            .and_then(|n| u16::try_from(n).ok())
            .filter(|n| (1..=pixels::MAX_SIDE).contains(n))
    };
    let (Some(columns), Some(rows)) = (side(tags::COLUMNS), side(tags::ROWS)) else {
        return unreadable(format!("rows or columns are not 1 to {}", pixels::MAX_SIDE));
    };
    if number(tags::SAMPLES_PER_PIXEL).unwrap_or(1) != 1
        || text(header, tags::PHOTOMETRIC_INTERPRETATION) != "MONOCHROME2"
    {
        return unreadable("the image is not MONOCHROME2".to_owned());
    }
    let bits = number(tags::BITS_ALLOCATED);
    let Some(bits_allocated) = bits.filter(|&n| n == 8 || n == 16).map(|n| n as u16) else {
        return unreadable("the pixels have neither 8 nor 16 bits".to_owned());
    };
    let bits_stored = number(tags::BITS_STORED).unwrap_or(i64::from(bits_allocated));
    let high_bit = number(tags::HIGH_BIT).unwrap_or(bits_stored - 1);
    if !(1..=i64::from(bits_allocated)).contains(&bits_stored) || high_bit != bits_stored - 1 {
        return unreadable("bits stored and high bit do not fit".to_owned());
    }
    let frames = number(tags::NUMBER_OF_FRAMES).unwrap_or(1);
    let Some(frames) = u32::try_from(frames).ok().filter(|&n| n > 0) else {
        return unreadable("the number of frames makes no sense".to_owned());
    };
    Ok(Layout {
        transfer_syntax,
        columns,
        rows,
        bits_allocated,
        bits_stored: bits_stored as u16,
        signed: number(tags::PIXEL_REPRESENTATION) == Some(1),
        frames,
    })
}
