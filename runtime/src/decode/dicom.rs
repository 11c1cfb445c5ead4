//! DICOM files of one series -> [`DicomSeries`]. Classic and Enhanced MR; whatever is wrong is a [`Refusal`] whose text
//! names the instance by its number and nothing of the patient.
//!
//! Bytes are walked by the bounded pre-scan again, wherever they come from. Decoding is work for a blocking thread with
//! a large stack ([`STACK_BYTES`]): dicom-object recurses over nested sequences.

use super::geometry::{FrameView, Place, integer, text};
use super::pixels::{self, Layout};
use super::public::{self, Public};
use super::{DicomSeries, FrameRef, InstanceRef, gate};
use crate::ingest::header::is_uid;
use crate::part10;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use kernels::volume::MAX_VOXELS;
use pipeline::{Plane, Refusal, RefusalCode, Series, SourceImage, Use};

pub use super::folder::{Folder, FolderError, read_folder};

/// Stack for a thread that decodes: 32 times what dicom-object needs for the nesting the pre-scan lets pass.
pub const STACK_BYTES: usize = 64 << 20;
/// Echo times of one stack agree within this, ms.
const ECHO_TOLERANCE: f64 = 0.1;

/// Decodes the files (DICOM part 10) of one series, in any order, and checks that the nets can take it. Where only levels
/// are wanted, slices that are not sagittal are left out: a localiser has three planes.
///
/// # Errors
/// A [`Refusal`] with plane, class, dims and spacing as far as they were known.
pub fn decode<B: AsRef<[u8]>>(files: &[B], wanted: Use) -> Result<DicomSeries, Refusal> {
    let mut decoder = Decoder::new(wanted);
    for (index, file) in files.iter().enumerate() {
        decoder
            .add(file.as_ref())
            .map_err(|refusal| decoder.describe(refusal, index, files.len()))?;
    }
    decoder.finish()
}

/// Whether every slice of a stack was made at one time and echo.
#[derive(Debug, Default)]
struct Stack {
    time_point: Option<f64>,
    echo: Option<f64>,
}

#[derive(Debug)]
struct Decoder {
    wanted: Use,
    images: Vec<SourceImage>,
    frames: Vec<FrameRef>,
    instances: Vec<InstanceRef>,
    headers: Vec<InMemDicomObject>,
    contrast: Option<&'static str>,
    series: Option<String>,
    plane: Option<Plane>,
    voxels: usize,
}

fn refuse<T>(code: RefusalCode, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, text))
}

impl Decoder {
    fn new(wanted: Use) -> Decoder {
        Decoder {
            wanted,
            images: Vec::new(),
            frames: Vec::new(),
            instances: Vec::new(),
            headers: Vec::new(),
            contrast: None,
            series: None,
            plane: None,
            voxels: 0,
        }
    }

    /// Adds one file.
    fn add(&mut self, file: &[u8]) -> Result<(), Refusal> {
        let (transfer_syntax, data_set) = part10::split(file)
            .map_err(|e| Refusal::new(RefusalCode::UnreadablePixels, e.to_string()))?;
        if is_lossy(&transfer_syntax) {
            return refuse(RefusalCode::Lossy, "the images are compressed with loss");
        }
        let Public { header, pixels } = public::split(data_set, &transfer_syntax)
            .map_err(|e| Refusal::new(RefusalCode::UnreadablePixels, e))?;
        let enhanced = self.admit_instance(&header)?;
        let layout = layout(&header, transfer_syntax)?;
        if !enhanced && layout.frames != 1 {
            return refuse(RefusalCode::WrongClass, "several frames in a class of single frames");
        }
        let size = usize::from(layout.columns) * usize::from(layout.rows);
        self.voxels = self.voxels.saturating_add(size.saturating_mul(layout.frames as usize));
        if self.voxels > MAX_VOXELS {
            return refuse(RefusalCode::TooLarge, "the series has more voxels than a job may hold");
        }
        let pixels = pixels.ok_or_else(|| {
            Refusal::new(RefusalCode::UnreadablePixels, "there are no pixel data")
        })?;
        let mut stack = Stack::default();
        for frame in 0..layout.frames {
            let view = match enhanced {
                true => FrameView::enhanced(&header, frame as usize),
                false => FrameView::classic(&header),
            };
            if frame == 0 {
                self.plane = self.plane.or_else(|| view.place().ok().and_then(plane_of));
                self.contrast = self.contrast.or(gate::classify(&header, view, self.wanted)?);
            }
            stack.check(view)?;
            let place = place(view)?;
            if self.wanted == Use::Levels && plane_of(place) != Some(Plane::Sagittal) {
                continue;
            }
            let values = pixels::frame(&pixels, &layout, frame, view.rescale())
                .map_err(|e| Refusal::new(RefusalCode::UnreadablePixels, e))?;
            self.images.push(image(self.frames.len(), &layout, place, values));
            let number = enhanced.then_some(frame + 1);
            self.frames.push(FrameRef { instance: self.instances.len(), frame: number });
        }
        self.instances.push(InstanceRef {
            sop_class_uid: text(&header, tags::SOP_CLASS_UID),
            sop_instance_uid: text(&header, tags::SOP_INSTANCE_UID),
        });
        self.headers.push(header);
        Ok(())
    }

    /// Class, lossy history and series of an instance. Returns whether it is Enhanced MR.
    fn admit_instance(&mut self, header: &InMemDicomObject) -> Result<bool, Refusal> {
        let class = text(header, tags::SOP_CLASS_UID);
        if class != uids::MR_IMAGE_STORAGE && class != uids::ENHANCED_MR_IMAGE_STORAGE {
            return refuse(RefusalCode::WrongClass, "not an MR image");
        }
        if text(header, tags::LOSSY_IMAGE_COMPRESSION) == "01" {
            return refuse(RefusalCode::Lossy, "the images were compressed with loss before");
        }
        let [instance, series] =
            [tags::SOP_INSTANCE_UID, tags::SERIES_INSTANCE_UID].map(|tag| text(header, tag));
        if !is_uid(&instance) || !is_uid(&series) {
            return refuse(RefusalCode::UnreadablePixels, "an instance without valid UIDs");
        }
        match &self.series {
            Some(first) if *first != series => {
                return refuse(
                    RefusalCode::MixedOrientation,
                    "the instances are of several series",
                );
            }
            _ => self.series = Some(series),
        }
        Ok(class == uids::ENHANCED_MR_IMAGE_STORAGE)
    }

    /// Completes a refusal with the instance it is about and what was known by then.
    fn describe(&self, refusal: Refusal, index: usize, count: usize) -> Refusal {
        let text = match count {
            1 => refusal.text,
            _ => format!("instance {} of {count}: {}", index + 1, refusal.text),
        };
        Refusal {
            text,
            plane: refusal.plane.or(self.plane),
            class: refusal.class.or(self.contrast),
            ..refusal
        }
    }

    fn finish(self) -> Result<DicomSeries, Refusal> {
        let (class, plane) = (self.contrast, self.plane);
        let known = |refusal: Refusal| Refusal {
            plane: refusal.plane.or(plane),
            class: refusal.class.or(class),
            ..refusal
        };
        let series = Series::stack(self.images, self.wanted).map_err(known)?;
        series.admit(self.wanted).map_err(known)?;
        let first = self.frames[series.sources[0]].instance;
        let header = self.headers.into_iter().nth(first);
        Ok(DicomSeries {
            series,
            frames: self.frames,
            instances: self.instances,
            header: header.expect("every frame has an instance, and every instance a header"),
            contrast: class,
        })
    }
}

impl Stack {
    /// Refuses a second time point or echo within one Enhanced MR object.
    fn check(&mut self, view: FrameView<'_>) -> Result<(), Refusal> {
        let time_point = view.number(tags::FRAME_CONTENT_SEQUENCE, tags::TEMPORAL_POSITION_INDEX);
        let echo = view.number(tags::MR_ECHO_SEQUENCE, tags::EFFECTIVE_ECHO_TIME);
        let differs = |known: Option<f64>, new: Option<f64>, tolerance: f64| {
            known.zip(new).is_some_and(|(a, b)| (a - b).abs() > tolerance)
        };
        if differs(self.time_point, time_point, 0.0) {
            return refuse(RefusalCode::NotAnatomical, "the object holds several time points");
        }
        if differs(self.echo, echo, ECHO_TOLERANCE) {
            return refuse(RefusalCode::NotAnatomical, "the object holds several echoes");
        }
        self.time_point = self.time_point.or(time_point);
        self.echo = self.echo.or(echo);
        Ok(())
    }
}

fn place(view: FrameView<'_>) -> Result<Place, Refusal> {
    let place = view.place().map_err(|name| {
        Refusal::new(RefusalCode::MissingGeometry, format!("{name} is missing or no number"))
    })?;
    if !place.is_square() {
        return refuse(RefusalCode::MissingGeometry, "row and column directions make no sense");
    }
    Ok(place)
}

/// Plane of a frame, for refusals before there is a volume.
fn plane_of(place: Place) -> Option<Plane> {
    let [row, column] = place.orientation;
    let normal = kernels::volume::cross(row, column);
    let affine = kernels::Affine::new([row, column, normal], place.position).ok()?;
    Some(pipeline::series::plane(&affine, 2))
}

fn image(source: usize, layout: &Layout, place: Place, pixels: Vec<f32>) -> SourceImage {
    SourceImage {
        source,
        columns: usize::from(layout.columns),
        rows: usize::from(layout.rows),
        spacing_mm: place.spacing_mm,
        orientation: place.orientation,
        position: place.position,
        pixels,
    }
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
