//! The outlines as Grayscale Softcopy Presentation State (PS3.3 A.33.1): bodies, discs, sacrum and
//! the names of the levels, drawn by the viewer on the source images, in layers that a reader can
//! switch off.
//!
//! Outlines come from [`pipeline::contour`]: filled, they are the pixels of the masks. The window is
//! the source's own; a source without one is shown as our pictures are.

use super::codes;
use super::element::{
    ST_CHARACTERS, decimals, empty, floats, item, line, sequence, short, shorts, text,
};
use super::header::{is_inverted, rescale, window};
use super::module::{Context, WARNING};
use super::{ObjectError, OutputKind, OutputObject};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use pipeline::contour::{self, Polygon};
use pipeline::overlay::{self, Window};
use pipeline::{Segmentation, Structure, VertebraId};
use std::collections::BTreeMap;

const KIND: OutputKind = OutputKind::PresentationState;
/// Points of one graphic object: a value of FL ends below 64 KiB (PS3.5 section 7.1.2).
const MAX_POINTS: usize = 0xFFFF / 8;
/// Where the notice stands, as shares of the displayed area: its lower left corner, one line high.
const NOTICE_BOX: [[f32; 2]; 2] = [[0.02, 0.94], [0.98, 0.98]];
const NOTICE_COLOUR: [u8; 3] = [255, 190, 84];
const LEVEL_COLOUR: [u8; 3] = [255, 255, 255];

/// What is drawn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Vertebrae,
    Discs,
    Sacrum,
    Levels,
    Notice,
}

impl Layer {
    /// From back to front.
    const ALL: [Layer; 5] =
        [Layer::Vertebrae, Layer::Discs, Layer::Sacrum, Layer::Levels, Layer::Notice];

    fn name(self) -> &'static str {
        match self {
            Layer::Vertebrae => "VERTEBRAE",
            Layer::Discs => "DISCS",
            Layer::Sacrum => "SACRUM",
            Layer::Levels => "LEVELS",
            Layer::Notice => "NOTICE",
        }
    }

    fn colour(self) -> [u8; 3] {
        match self {
            Layer::Vertebrae => Structure::VertebralBody.colour(),
            Layer::Discs => Structure::Disc.colour(),
            Layer::Sacrum => Structure::Sacrum.colour(),
            Layer::Levels => LEVEL_COLOUR,
            Layer::Notice => NOTICE_COLOUR,
        }
    }

    /// The layer of a label of [`overlay::outlined`].
    fn of(label: u16) -> Layer {
        match overlay::outlined_structure(label) {
            Structure::Sacrum => Layer::Sacrum,
            Structure::Disc => Layer::Discs,
            _ => Layer::Vertebrae,
        }
    }
}

/// The presentation state of a result; `None` where there is nothing to outline.
pub(super) fn build(
    context: &Context<'_>,
    result: &Segmentation,
) -> Result<Option<OutputObject>, ObjectError> {
    let slices = context.grid().dims.counts()[2];
    let mut annotations: Vec<_> =
        (0..slices).flat_map(|slice| annotate(context, result, slice)).collect();
    if annotations.is_empty() {
        return Ok(None);
    }
    annotations.push(notice(context, result));
    let mut object = context.common(KIND, 1);
    let made = context.made();
    let series = InMemDicomObject::from_element_iter([
        text(tags::SERIES_INSTANCE_UID, VR::UI, context.series_uid()),
        sequence(tags::REFERENCED_IMAGE_SEQUENCE, context.images()),
    ]);
    let layers = Layer::ALL.iter().enumerate().map(|(order, &layer)| describe(order, layer));
    let shape = if is_inverted(context.header()) { "INVERSE" } else { "IDENTITY" };
    let elements = [
        text(tags::MODALITY, VR::CS, "PR"),
        text(tags::CONTENT_LABEL, VR::CS, "SPINE_OUTLINES"),
        text(tags::CONTENT_DESCRIPTION, VR::LO, WARNING),
        empty(tags::CONTENT_CREATOR_NAME, VR::PN),
        text(tags::PRESENTATION_CREATION_DATE, VR::DA, &*made.date),
        text(tags::PRESENTATION_CREATION_TIME, VR::TM, &*made.time),
        sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series]),
        displayed_area(context),
        sequence(tags::GRAPHIC_LAYER_SEQUENCE, layers.collect()),
        sequence(tags::GRAPHIC_ANNOTATION_SEQUENCE, annotations),
        softcopy_window(context),
        text(tags::PRESENTATION_LUT_SHAPE, VR::CS, shape),
    ];
    for element in elements.into_iter().chain(modality_lut(context)) {
        object.put(element);
    }
    context.file(KIND, 1, "gsps.dcm".to_owned(), &object).map(Some)
}

/// An item of the graphic layer sequence (PS3.3 C.10.7).
fn describe(order: usize, layer: Layer) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        text(tags::GRAPHIC_LAYER, VR::CS, layer.name()),
        text(tags::GRAPHIC_LAYER_ORDER, VR::IS, (order + 1).to_string()),
        shorts(
            tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
            &codes::cielab(layer.colour()),
        ),
        text(tags::GRAPHIC_LAYER_DESCRIPTION, VR::LO, WARNING),
    ])
}

/// The whole image, fitted (PS3.3 C.10.4). Without a list of images it holds for all.
fn displayed_area(context: &Context<'_>) -> InMemElement {
    let [columns, rows, _] = context.grid().dims.counts().map(|n| n as i32);
    let [dx, dy, _] = context.grid().affine.spacing();
    let corner = |tag, [column, row]: [i32; 2]| {
        let value = PrimitiveValue::I32([column, row].into_iter().collect());
        DataElement::new(tag, VR::SL, value)
    };
    item(
        tags::DISPLAYED_AREA_SELECTION_SEQUENCE,
        [
            corner(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, [1, 1]),
            corner(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, [columns, rows]),
            text(tags::PRESENTATION_SIZE_MODE, VR::CS, "SCALE TO FIT"),
            decimals(tags::PRESENTATION_PIXEL_SPACING, &[dy, dx]),
        ],
    )
}

/// From stored values to those that the window means (PS3.3 C.11.1): without it a viewer must not
/// rescale.
fn modality_lut(context: &Context<'_>) -> Vec<InMemElement> {
    let elements = |[slope, intercept]: [f64; 2]| {
        vec![
            decimals(tags::RESCALE_INTERCEPT, &[intercept]),
            decimals(tags::RESCALE_SLOPE, &[slope]),
            text(tags::RESCALE_TYPE, VR::LO, "US"),
        ]
    };
    rescale(context.header()).map_or(Vec::new(), elements)
}

/// The window (PS3.3 C.11.8): without it a viewer must not use the source's either.
fn softcopy_window(context: &Context<'_>) -> InMemElement {
    let [centre, width] = window(context.header()).unwrap_or_else(|| {
        let [centre, width] = Window::of(context.image()).centre_and_width().map(f64::from);
        // A width below 1 is none.
        [centre, width.max(1.0)]
    });
    item(
        tags::SOFTCOPY_VOILUT_SEQUENCE,
        [decimals(tags::WINDOW_CENTER, &[centre]), decimals(tags::WINDOW_WIDTH, &[width])],
    )
}

/// The annotations of a slice: one a layer that has anything there.
fn annotate(context: &Context<'_>, result: &Segmentation, slice: usize) -> Vec<InMemDicomObject> {
    let columns = context.grid().dims.counts()[0];
    let labels = overlay::outlined(result.semantic.slice(slice), result.instances.slice(slice));
    let outlines = contour::outlines(columns, &labels);
    let graphics = |layer: Layer| -> Vec<InMemDicomObject> {
        let own = outlines.iter().filter(|(label, _)| Layer::of(**label) == layer);
        own.flat_map(|(_, polygons)| polygons.iter().flat_map(pieces)).map(polyline).collect()
    };
    let annotation = |layer: Layer, tag: Tag, objects: Vec<InMemDicomObject>| {
        let filled = !objects.is_empty();
        filled.then(|| {
            InMemDicomObject::from_element_iter([
                sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![context.image_of(slice)]),
                text(tags::GRAPHIC_LAYER, VR::CS, layer.name()),
                sequence(tag, objects),
            ])
        })
    };
    let drawn = [Layer::Vertebrae, Layer::Discs, Layer::Sacrum]
        .map(|layer| annotation(layer, tags::GRAPHIC_OBJECT_SEQUENCE, graphics(layer)));
    let names = level_names(result, columns, &labels);
    let named = annotation(Layer::Levels, tags::TEXT_OBJECT_SEQUENCE, names);
    drawn.into_iter().chain([named]).flatten().collect()
}

/// The points of a closed polygon in as many polylines as it needs: column and row by turns.
fn pieces(polygon: &Polygon) -> Vec<Vec<f32>> {
    let closed: Vec<[f32; 2]> =
        polygon.iter().chain(polygon.first()).map(|point| point.map(|at| at as f32)).collect();
    (0..closed.len().saturating_sub(1))
        .step_by(MAX_POINTS - 1)
        .map(|from| closed[from..closed.len().min(from + MAX_POINTS)].as_flattened().to_vec())
        .collect()
}

/// A graphic object (PS3.3 C.10.5). In units of PIXEL 0\0 is the outer corner of the first pixel.
fn polyline(points: Vec<f32>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        text(tags::GRAPHIC_ANNOTATION_UNITS, VR::CS, "PIXEL"),
        short(tags::GRAPHIC_DIMENSIONS, 2),
        short(tags::NUMBER_OF_GRAPHIC_POINTS, (points.len() / 2) as u16),
        floats(tags::GRAPHIC_DATA, &points),
        text(tags::GRAPHIC_TYPE, VR::CS, "POLYLINE"),
        text(tags::GRAPHIC_FILLED, VR::CS, "N"),
    ])
}

/// The name of each level at the middle of what the slice shows of its body.
fn level_names(result: &Segmentation, columns: usize, labels: &[u16]) -> Vec<InMemDicomObject> {
    let mut sums: BTreeMap<u16, [usize; 3]> = BTreeMap::new();
    for (at, &label) in labels.iter().enumerate().filter(|(_, label)| **label != 0) {
        let [across, down, count] = sums.entry(label).or_default();
        *across += at % columns;
        *down += at / columns;
        *count += 1;
    }
    let verified = result.numbering.is_verified();
    let name = |label: u16| {
        let id = u8::try_from(label).ok().and_then(VertebraId::new)?;
        // An unverified number must not read like a level.
        let verified = verified || id == VertebraId::SACRUM;
        Some(if verified { id.name() } else { format!("#{}", id.value()) })
    };
    let vertebrae = sums.into_iter().filter(|(label, _)| Layer::of(*label) != Layer::Discs);
    vertebrae
        .filter_map(|(label, [across, down, count])| {
            // The centre of a pixel is half a pixel from its corner.
            let middle = [across, down].map(|sum| (sum as f64 / count as f64 + 0.5) as f32);
            Some(InMemDicomObject::from_element_iter([
                text(tags::UNFORMATTED_TEXT_VALUE, VR::ST, name(label)?),
                text(tags::ANCHOR_POINT_ANNOTATION_UNITS, VR::CS, "PIXEL"),
                floats(tags::ANCHOR_POINT, &middle),
                text(tags::ANCHOR_POINT_VISIBILITY, VR::CS, "N"),
            ]))
        })
        .collect()
}

/// The warning, on every image: an annotation without a list of images holds for all.
fn notice(context: &Context<'_>, result: &Segmentation) -> InMemDicomObject {
    let provenance = context.provenance();
    let levels = if result.numbering.is_verified() { "" } else { "; levels unverified" };
    let revised = if provenance.is_revision() { "REVISED; " } else { "" };
    let words = format!(
        "{revised}{WARNING}; {}, {} {}{levels}",
        provenance.software, provenance.model, provenance.model_version
    );
    let [upper_left, lower_right] = NOTICE_BOX;
    let words = InMemDicomObject::from_element_iter([
        text(tags::UNFORMATTED_TEXT_VALUE, VR::ST, line(&words, ST_CHARACTERS)),
        text(tags::BOUNDING_BOX_ANNOTATION_UNITS, VR::CS, "DISPLAY"),
        floats(tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, &upper_left),
        floats(tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER, &lower_right),
        text(tags::BOUNDING_BOX_TEXT_HORIZONTAL_JUSTIFICATION, VR::CS, "LEFT"),
    ]);
    InMemDicomObject::from_element_iter([
        text(tags::GRAPHIC_LAYER, VR::CS, Layer::Notice.name()),
        sequence(tags::TEXT_OBJECT_SEQUENCE, vec![words]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_outlines_are_drawn_in_pieces_that_join() {
        let square: Polygon = vec![[3, 1], [3, 2], [0, 2], [0, 1]];
        assert_eq!(pieces(&square), [[3.0, 1.0, 3.0, 2.0, 0.0, 2.0, 0.0, 1.0, 3.0, 1.0]]);
        let long: Polygon = (0..2 * MAX_POINTS).map(|n| [n, n % 7]).collect();
        let pieces = pieces(&long);
        assert!(pieces.iter().all(|piece| piece.len() * 4 < 0x1_0000), "FL has 16-bit lengths");
        for (a, b) in pieces.iter().zip(&pieces[1..]) {
            assert_eq!(a[a.len() - 2..], b[..2]);
        }
        let points: usize = pieces.iter().map(|piece| piece.len() / 2 - 1).sum();
        assert_eq!(points, long.len(), "every corner once, and back to the first");
    }

    #[test]
    fn every_layer_has_a_name_that_fits_a_code_string() {
        for (n, layer) in Layer::ALL.into_iter().enumerate() {
            assert!(layer.name().len() <= 16);
            assert!(Layer::ALL[..n].iter().all(|other| other.name() != layer.name()));
        }
    }
}
