//! DICOM files of one series -> [`DicomSeries`]. Classic and Enhanced MR; whatever is wrong is a [`Refusal`] whose text
//! names the instance by its number and nothing of the patient.
//!
//! Headers first, then what to take of them, then the pixels of that alone. Bytes are walked by the bounded pre-scan again,
//! wherever they come from. Decoding is work for a blocking thread with a large stack ([`STACK_BYTES`]): dicom-object
//! recurses over nested sequences.

use super::facts::Facts;
use super::geometry::{FrameView, Place, text};
use super::instance::Instance;
use super::parts::{self, Choice};
use super::pixels;
use super::selection::{Class, Selection, Settings, Take};
use super::{Acquisition, DicomSeries, FrameRef, InstanceRef, contrast, gate};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use kernels::volume::MAX_VOXELS;
use pipeline::{Plane, Refusal, RefusalCode, Series, SourceImage, Use};

pub use super::folder::{Folder, FolderError, read_folder};

/// Stack for a thread that decodes: 32 times what dicom-object needs for the nesting the pre-scan lets pass.
pub const STACK_BYTES: usize = 64 << 20;
/// Most frames of a series, of all its parts, so that what is kept of each (some hundred bytes) stays within megabytes: 64 slices
/// at a thousand time points.
const MAX_FRAMES: usize = 1 << 16;

/// Decodes the files (DICOM part 10) of one series, in any order, chooses what of it is taken under the settings of the site,
/// and checks that the nets can take it. Where only levels are wanted, slices that are not sagittal are left out: a
/// localiser has three planes.
///
/// # Errors
/// A [`Refusal`] with plane, class, dims and spacing as far as they were known.
pub fn decode<B: AsRef<[u8]>>(
    files: &[B],
    wanted: Use,
    site: &Settings,
) -> Result<DicomSeries, Refusal> {
    let mut decoder = Decoder::default();
    for (index, file) in files.iter().enumerate() {
        let added = decoder.add(file.as_ref());
        added.map_err(|refusal| decoder.describe(refusal, index, files.len()))?;
    }
    let class = decoder.frames.first().map(|frame| contrast::classify(&frame.facts).class);
    decoder.class = class.filter(|&class| class != Class::Unknown);
    let taken = decoder.take(wanted, site).map_err(|refusal| decoder.known(refusal))?;
    decoder.class = Some(taken.selection.class);
    decoder.finish(taken, wanted)
}

/// One frame of an instance.
#[derive(Debug)]
struct Frame {
    instance: usize,
    /// From 0.
    frame: u32,
    facts: Facts,
}

/// What of a series is taken, and as what.
#[derive(Debug)]
struct Taken {
    choice: Choice,
    selection: Selection,
}

#[derive(Debug, Default)]
struct Decoder<'a> {
    instances: Vec<Instance<'a>>,
    frames: Vec<Frame>,
    series: Option<String>,
    plane: Option<Plane>,
    class: Option<Class>,
}

fn refuse<T>(code: RefusalCode, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, text))
}

impl<'a> Decoder<'a> {
    /// Adds one file.
    fn add(&mut self, file: &'a [u8]) -> Result<(), Refusal> {
        let instance = Instance::read(file)?;
        let series = text(&instance.header, tags::SERIES_INSTANCE_UID);
        if self.series.get_or_insert_with(|| series.clone()) != &series {
            let text = "the instances are of several series";
            return refuse(RefusalCode::MixedOrientation, text);
        }
        if self.frames.len() + instance.layout.frames as usize > MAX_FRAMES {
            return refuse(RefusalCode::TooLarge, "the series has more frames than a job may hold");
        }
        self.plane = self.plane.or_else(|| instance.view(0).place().ok().and_then(plane_of));
        let index = self.instances.len();
        let frames = (0..instance.layout.frames).map(|frame| Frame {
            instance: index,
            frame,
            facts: Facts::of(&instance.header, instance.view(frame)),
        });
        self.frames.extend(frames);
        self.instances.push(instance);
        Ok(())
    }

    /// Completes a refusal with the instance it is about and what was known by then.
    fn describe(&self, refusal: Refusal, index: usize, count: usize) -> Refusal {
        let text = match count {
            1 => refusal.text,
            _ => format!("instance {} of {count}: {}", index + 1, refusal.text),
        };
        self.known(Refusal { text, ..refusal })
    }

    fn known(&self, refusal: Refusal) -> Refusal {
        Refusal {
            plane: refusal.plane.or(self.plane),
            class: refusal.class.or(self.class.map(Class::name)),
            ..refusal
        }
    }

    /// Which frames are taken, and as what: the site's table first, then the rules.
    fn take(&self, wanted: Use, site: &Settings) -> Result<Taken, Refusal> {
        let Some(first) = self.instances.first() else {
            return refuse(RefusalCode::TooFewSlices, "the series holds no image");
        };
        let said = site.verdict(&first.header);
        if let Some((Take::No, row)) = &said {
            return refuse(RefusalCode::NotSelected, format!("the site leaves it out ({row})"));
        }
        let facts: Vec<&Facts> = self.frames.iter().map(|frame| &frame.facts).collect();
        let choice = parts::choose(&facts, site.dixon)?;
        self.check_time(&choice.frames)?;
        let mut selection = match said {
            Some((Take::As(class), row)) => Selection::by_site(class, row),
            _ => {
                if let Some(reason) =
                    choice.frames.iter().find_map(|&k| gate::not_anatomical(facts[k], wanted))
                {
                    let text = format!("the series is no anatomical image: {reason}");
                    return refuse(RefusalCode::NotAnatomical, text);
                }
                contrast::classify(facts[choice.frames[0]])
            }
        };
        selection.reasons.extend(&choice.reasons);
        if wanted == Use::Exam && site.leave_out.contains(&selection.class) {
            let text = format!("the site leaves series of class {} out", selection.class.name());
            return refuse(RefusalCode::NotSelected, text);
        }
        Ok(Taken { choice, selection })
    }

    /// Refuses a second time point within one Enhanced MR object.
    fn check_time(&self, chosen: &[usize]) -> Result<(), Refusal> {
        let told = |k: &usize| {
            let frame = &self.frames[*k];
            frame.facts.time_point.map(|point| (frame.instance, point))
        };
        let differ = |pair: &[(usize, f64)]| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1;
        let points: Vec<(usize, f64)> = chosen.iter().filter_map(told).collect();
        match points.windows(2).any(differ) {
            true => refuse(RefusalCode::NotAnatomical, "the object holds several time points"),
            false => Ok(()),
        }
    }

    /// Decodes the frames that are taken and stacks them.
    fn finish(mut self, taken: Taken, wanted: Use) -> Result<DicomSeries, Refusal> {
        let Taken { choice, selection } = taken;
        let (mut images, mut frames, mut used) = (Vec::new(), Vec::new(), Vec::new());
        let (mut voxels, mut begun) = (0, None::<String>);
        for k in choice.frames {
            let Frame { instance: index, frame, .. } = self.frames[k];
            let instance = &self.instances[index];
            let described = |refusal| self.describe(refusal, index, self.instances.len());
            let place = place(instance.view(frame)).map_err(described)?;
            if wanted == Use::Levels && plane_of(place) != Some(Plane::Sagittal) {
                continue;
            }
            voxels += instance.layout.pixels();
            if voxels > MAX_VOXELS {
                let text = "the series has more voxels than a job may hold";
                return Err(self.known(Refusal::new(RefusalCode::TooLarge, text)));
            }
            images.push(image(instance, frame, place, frames.len()).map_err(described)?);
            if used.last() != Some(&index) {
                used.push(index);
            }
            frames.push(FrameRef { instance: used.len() - 1, frame: instance.number(frame) });
            begun = begun.into_iter().chain(instance.view(frame).acquired()).min();
        }
        let series = Series::stack(images, wanted).map_err(|refusal| self.known(refusal))?;
        series.admit(wanted).map_err(|refusal| self.known(refusal))?;
        let instances = used.iter().map(|&k| reference(&self.instances[k].header)).collect();
        let first = used[frames[series.sources[0]].instance];
        let header = self.instances.swap_remove(first).header;
        let acquisition = Acquisition { begun, corrections: choice.corrections };
        Ok(DicomSeries { series, frames, instances, header, selection, acquisition })
    }
}

fn reference(header: &InMemDicomObject) -> InstanceRef {
    InstanceRef {
        sop_class_uid: text(header, tags::SOP_CLASS_UID),
        sop_instance_uid: text(header, tags::SOP_INSTANCE_UID),
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

/// Decodes one frame, which the caller calls `source`.
fn image(
    instance: &Instance<'_>,
    frame: u32,
    place: Place,
    source: usize,
) -> Result<SourceImage, Refusal> {
    let layout = &instance.layout;
    let pixels = pixels::frame(&instance.pixels, layout, frame, instance.view(frame).rescale())
        .map_err(|e| Refusal::new(RefusalCode::UnreadablePixels, e))?;
    Ok(SourceImage {
        source,
        columns: usize::from(layout.columns),
        rows: usize::from(layout.rows),
        spacing_mm: place.spacing_mm,
        orientation: place.orientation,
        position: place.position,
        pixels,
    })
}
