//! What goes back for a series: label images, the images with contours, the overlay in colour, one page with the report. Each
//! is a series of its own, image for image at the place of its source.

use super::geometry::{Origin, SHOWN_DIRECTIONS, Stack};
use super::header::{DataType, ImageHeader};
use super::meta::Meta;
use super::roi;
use super::wire::Image;
use crate::identity::Provenance;
use crate::jobs::inline::Answer;
use crate::objects::RgbImage;
use crate::render::{self, NOT_FOR_DIAGNOSIS, Scene};
use pipeline::Segmentation;

/// Attributes of ours.
mod key {
    pub(super) const ROLE: &str = "DataRole";
    pub(super) const HISTORY: &str = "ImageProcessingHistory";
    /// Without it a scanner does not place the image where its source lies.
    pub(super) const KEEP_GEOMETRY: &str = "Keep_image_geometry";
    /// A picture in colour that is shown as it is.
    pub(super) const INTERNAL_SEND: &str = "InternalSend";
    pub(super) const WINDOW: [&str; 2] = ["WindowCenter", "WindowWidth"];
    /// Both spellings exist, and both names of what a series is called.
    pub(super) const COMMENTS: [&str; 2] = ["ImageComments", "ImageComment"];
    pub(super) const DESCRIPTIONS: [&str; 2] =
        ["SeriesDescriptionAdditional", "SequenceDescriptionAdditional"];
    /// They turn samples of the source into intensities; ours are none of the source's.
    pub(super) const RESCALE: [&str; 2] = ["RescaleSlope", "RescaleIntercept"];
}

/// Black is the background and white the largest structure value, 100; black is 0 and white 255.
const LABEL_WINDOW: [&str; 2] = ["50", "101"];
const COLOUR_WINDOW: [&str; 2] = ["128", "256"];
/// How large a pixel of the report is shown, mm: its page is then as long as a lumbar field of view.
const REPORT_PIXEL_MM: f32 = 0.25;

/// A series of results, by its place among them.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Labels,
    Contours,
    Colour,
    Report,
}

impl Kind {
    fn description(self) -> &'static str {
        match self {
            Kind::Labels => "SAGITTA_LABELS",
            Kind::Contours => "SAGITTA_CONTOURS",
            Kind::Colour => "SAGITTA_OVERLAY",
            Kind::Report => "SAGITTA_REPORT",
        }
    }

    fn role(self) -> &'static str {
        match self {
            Kind::Labels => "Segmentation",
            _ => "Image",
        }
    }
}

/// A result and what it is about.
struct Reply<'a> {
    images: &'a [Image],
    places: Places,
    answer: &'a Answer,
    /// The number of the first series of results.
    first: u16,
}

/// Which slices of the volume an image has, by its planes.
type Places = Vec<(Origin, usize)>;

/// The places of the slices of a stack, image by image and plane by plane.
pub fn places(stack: &Stack) -> Places {
    let slices = 0..stack.series.sources.len();
    let mut places: Places = slices.map(|k| (stack.origin(k), k)).collect();
    places.sort_by_key(|(origin, _)| (origin.image, origin.plane));
    places
}

/// The images of all results, series by series; the first of them has number `first`.
pub fn results(images: &[Image], places: Places, answer: &Answer, first: u16) -> Vec<Image> {
    let reply = Reply { images, places, answer, first };
    let captures =
        render::captures(&answer.series, answer.segmentation.masks(), &answer.provenance);
    let captures: Vec<_> = captures.collect();
    let mut results = reply.each(|image, slices| reply.labels(image, slices));
    results.extend(reply.each(|image, slices| reply.contours(image, slices)));
    results.extend(reply.each(|image, slices| reply.colour(image, slices, &captures)));
    results.extend(reply.report());
    results
}

impl Reply<'_> {
    /// What `make` makes of each image of the stack and its slices.
    fn each(&self, make: impl Fn(&Image, &[usize]) -> Image) -> Vec<Image> {
        let images = self.places.chunk_by(|(a, _), (b, _)| a.image == b.image);
        images
            .map(|planes| {
                let slices: Vec<usize> = planes.iter().map(|&(_, k)| k).collect();
                make(&self.images[planes[0].0.image], &slices)
            })
            .collect()
    }

    fn segmentation(&self) -> &Segmentation {
        &self.answer.segmentation
    }

    fn labels(&self, source: &Image, slices: &[usize]) -> Image {
        let mut meta = self.meta(source, Kind::Labels);
        window(&mut meta, LABEL_WINDOW);
        let values = slices.iter().flat_map(|&k| self.segmentation().semantic.slice(k));
        let pixels = values.flat_map(|&value| i16::from(value).to_le_bytes()).collect();
        let header = source.header.clone().of_samples(DataType::I16);
        self.image(header, &meta, pixels, Kind::Labels)
    }

    /// The samples as they came. An attribute belongs to a whole image, so one of several planes has no contours.
    fn contours(&self, source: &Image, slices: &[usize]) -> Image {
        let mut meta = self.meta(source, Kind::Contours);
        let result = self.segmentation();
        let columns = usize::from(source.header.matrix()[0]);
        if let [k] = *slices {
            let verified = result.numbering.is_verified();
            let (semantic, instances) = (result.semantic.slice(k), result.instances.slice(k));
            roi::draw(&mut meta, columns, semantic, instances, verified);
        }
        self.image(source.header.clone(), &meta, source.pixels.clone(), Kind::Contours)
    }

    fn colour(&self, source: &Image, slices: &[usize], captures: &[RgbImage]) -> Image {
        let mut meta = self.meta(source, Kind::Colour);
        window(&mut meta, COLOUR_WINDOW);
        meta.set(key::INTERNAL_SEND, ["1"]);
        let pixels = planar(slices.iter().map(|&k| captures[k].pixels.as_chunks().0));
        self.image(source.header.clone().in_colour(), &meta, pixels, Kind::Colour)
    }

    /// One page, at the place of the middle slice.
    fn report(&self) -> Option<Image> {
        let Answer { series, segmentation, provenance, .. } = self.answer;
        let middle = series.sources.len() / 2;
        let (origin, _) = self.places.iter().find(|&&(_, k)| k == middle)?;
        let source = &self.images[origin.image];
        let scene = Scene::new(&series.volume, segmentation, provenance, None);
        let (columns, picture) = scene.overlay();
        let rows = picture.len() / columns;
        let size = [columns, rows].map(|count| count as f32 * REPORT_PIXEL_MM);
        let thickness = series.volume.grid().affine.spacing()[2] as f32;
        let mut meta = self.meta(source, Kind::Report);
        window(&mut meta, COLOUR_WINDOW);
        meta.set(key::INTERNAL_SEND, ["1"]);
        let header = source.header.clone().in_colour();
        let header = header.of_plane(columns as u16, rows as u16, [size[0], size[1], thickness]);
        Some(self.image(header, &meta, planar([picture.as_slice()].into_iter()), Kind::Report))
    }

    /// The attributes of the source, and what is ours.
    fn meta(&self, source: &Image, kind: Kind) -> Meta {
        let mut meta = Meta::read(&source.attributes).unwrap_or_default();
        meta.remove(roi::is_contour);
        if !matches!(kind, Kind::Contours) {
            meta.remove(|name| key::RESCALE.contains(&name));
        }
        let mut history = meta.values(key::HISTORY).unwrap_or_default().to_vec();
        history.push("SAGITTA".to_owned());
        meta.set(key::HISTORY, history);
        meta.set(key::ROLE, [kind.role()]);
        meta.set(key::KEEP_GEOMETRY, ["1"]);
        for (name, acquired) in SHOWN_DIRECTIONS.into_iter().zip(source.header.directions()) {
            if meta.values(name).is_none() {
                meta.set(name, acquired.map(|cosine| format!("{cosine:.9}")));
            }
        }
        let comment = comment(self.segmentation(), &self.answer.provenance);
        for name in key::COMMENTS {
            meta.set(name, [&comment]);
        }
        for name in key::DESCRIPTIONS {
            meta.set(name, [kind.description()]);
        }
        meta
    }

    fn image(&self, header: ImageHeader, meta: &Meta, pixels: Vec<u8>, kind: Kind) -> Image {
        let attributes = meta.write();
        let header = header
            .of_series(self.first.saturating_add(kind as u16))
            .with_attribute_bytes(attributes.len());
        Image { header, attributes, pixels }
    }
}

fn window(meta: &mut Meta, values: [&str; 2]) {
    for (name, value) in key::WINDOW.into_iter().zip(values) {
        meta.set(name, [value]);
    }
}

/// What every image says of itself.
fn comment(segmentation: &Segmentation, provenance: &Provenance) -> String {
    let levels = if segmentation.numbering.is_verified() { "" } else { "; levels unverified" };
    let Provenance { software, model, model_version, .. } = provenance;
    format!("AI result. {NOT_FOR_DIAGNOSIS}{levels}; {software}, {model} {model_version}")
}

/// Pictures as samples of 16 bits: all red planes, then green, then blue.
fn planar<'a>(pictures: impl Iterator<Item = &'a [[u8; 3]]> + Clone) -> Vec<u8> {
    let channel = |channel: usize| {
        let pixels = pictures.clone().flatten();
        pixels.flat_map(move |pixel| u16::from(pixel[channel]).to_le_bytes())
    };
    (0..3).flat_map(channel).collect()
}
