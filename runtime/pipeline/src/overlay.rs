//! What a viewer draws on the source images: tints and contours. Pure, on one slice at a time; the arithmetic of pixels is
//! that of `kernels`, layout, text and files belong to crate `sagitta` (`render`, `objects`).

use crate::labels::{Structure, VertebraId};
use kernels::overlay::{self, Ink, Palette};
pub use kernels::overlay::{Slice, Window, grey, mix};

/// How structures are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// Share of the structure's colour over the image, 0 to 1.
    pub alpha: f32,
    /// Outline bodies, discs and sacrum, one pixel wide.
    pub contours: bool,
    /// Hatch the vertebrae: their numbers are not levels.
    pub hatched: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style { alpha: 0.35, contours: true, hatched: false }
    }
}

/// Share of the contour's colour: the edge stays crisp, the image shimmers through.
const CONTOUR_ALPHA: f32 = 0.9;
/// Neighbouring vertebrae differ by mixing this much white into every other one and black into the rest.
const LIGHTEN: f32 = 0.3;
const DARKEN: f32 = 0.12;
/// The stripes of a hatching at this share of `alpha`.
const HATCH_SHARE: f32 = 0.35;

/// Canal and cord at this share of `alpha`: what a reader looks for lies inside them.
const CANAL_SHARE: f32 = 0.7;

/// The slice in grey with its structures tinted and outlined. The three arrays of `slice` must be equally
/// long.
pub fn blend(slice: Slice<'_>, window: Window, style: Style) -> Vec<[u8; 3]> {
    overlay::blend(slice, window, &style.palette())
}

impl Style {
    /// The ink of every value of a semantic mask.
    pub fn palette(self) -> Palette {
        Palette::new(|value| Some(self.ink(Structure::from_value(value)?)))
    }

    fn ink(self, structure: Structure) -> Ink {
        let outlined =
            matches!(structure, Structure::VertebralBody | Structure::Disc | Structure::Sacrum);
        let canal = matches!(structure, Structure::SpinalCanal | Structure::SpinalCord);
        let share = self.alpha * if canal { CANAL_SHARE } else { 1.0 };
        let striped = self.hatched && structure.is_vertebra();
        Ink {
            colours: [0, 1].map(|vertebra| tint(structure, vertebra)),
            share,
            striped: if striped { self.alpha * HATCH_SHARE } else { share },
            outline: (self.contours && outlined).then_some(CONTOUR_ALPHA),
        }
    }
}

/// What is outlined in a slice by viewers that draw lines, as one label a pixel: the id of a body or the sacrum, that of a disc;
/// else 0.
pub fn outlined(semantic: &[u8], instances: &[u16]) -> Vec<u16> {
    let label = |(&structure, &instance): (&u8, &u16)| match Structure::from_value(structure) {
        Some(Structure::VertebralBody) if instance < VertebraId::DISC_OFFSET => instance,
        Some(Structure::Disc) if instance > VertebraId::DISC_OFFSET => instance,
        Some(Structure::Sacrum) => u16::from(VertebraId::SACRUM.value()),
        _ => 0,
    };
    semantic.iter().zip(instances).map(label).collect()
}

/// The structure of a label of [`outlined`].
pub fn outlined_structure(label: u16) -> Structure {
    match label {
        label if label == u16::from(VertebraId::SACRUM.value()) => Structure::Sacrum,
        label if label > VertebraId::DISC_OFFSET => Structure::Disc,
        _ => Structure::VertebralBody,
    }
}

/// The colour of a structure; vertebra parts alternate in lightness from one vertebra to the next.
pub fn tint(structure: Structure, vertebra: u16) -> [u8; 3] {
    let colour = structure.colour();
    match (structure.is_vertebra(), vertebra % 2) {
        (false, _) => colour,
        (true, 0) => mix(colour, [255; 3], LIGHTEN),
        (true, _) => mix(colour, [0; 3], DARKEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: u8 = Structure::VertebralBody as u8;

    #[test]
    fn background_stays_grey_and_inside_and_edge_differ() {
        let pixels = [100.0; 25];
        let mut semantic = [0; 25];
        let mut instances = [0; 25];
        for at in [6, 7, 8, 11, 12, 13, 16, 17, 18] {
            (semantic[at], instances[at]) = (BODY, 20);
        }
        let slice =
            Slice { columns: 5, pixels: &pixels, semantic: &semantic, instances: &instances };
        let picture = blend(slice, Window::centred(100.0, 200.0), Style::default());
        let colour = tint(Structure::VertebralBody, 20);
        assert_eq!(picture[0], [128; 3]);
        assert_eq!(picture[12], mix([128; 3], colour, 0.35));
        assert_eq!(picture[6], mix([128; 3], colour, CONTOUR_ALPHA));
        let plain = Style { contours: false, ..Style::default() };
        assert_eq!(blend(slice, Window::centred(100.0, 200.0), plain)[6], picture[12]);
    }

    #[test]
    fn neighbouring_vertebrae_differ() {
        assert_ne!(tint(Structure::VertebralBody, 20), tint(Structure::VertebralBody, 21));
        assert_eq!(tint(Structure::Disc, 120), tint(Structure::Disc, 121));
    }

    #[test]
    fn hatching_touches_vertebrae_only() {
        let disc = Structure::Disc as u8;
        let semantic = [[BODY; 8], [disc; 8]].concat();
        let (pixels, instances) = ([0.0; 16], [3; 16]);
        let slice =
            Slice { columns: 8, pixels: &pixels, semantic: &semantic, instances: &instances };
        let style = Style { hatched: true, contours: false, ..Style::default() };
        let picture = blend(slice, Window::centred(0.0, 2.0), style);
        assert_ne!(picture[0], picture[5]);
        assert!(picture[8..].iter().all(|&pixel| pixel == picture[8]));
    }
}
