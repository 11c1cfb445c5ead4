//! What a viewer draws on the source images: window, tints and contours. Pure, on one slice at a time;
//! layout, text and files belong to crate `sagitta` (`render`, `objects`).

use crate::labels::Structure;
use kernels::Volume;
use kernels::statistics::percentiles;

/// Percentiles of all voxels that become black and white when a series brings no window of its own.
const BLACK_PERCENTILE: f64 = 1.0;
const WHITE_PERCENTILE: f64 = 99.0;

/// Intensities shown as black and as white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    low: f32,
    high: f32,
}

impl Window {
    /// From the 1st to the 99th percentile of the whole volume, so that all slices of a series look alike.
    pub fn of(volume: &Volume<f32>) -> Window {
        let bounds = percentiles(volume.voxels(), &[BLACK_PERCENTILE, WHITE_PERCENTILE]);
        Window { low: bounds[0], high: bounds[1] }
    }

    /// DICOM window centre and width (0028,1050) and (0028,1051).
    pub fn centred(centre: f32, width: f32) -> Window {
        Window { low: centre - width / 2.0, high: centre + width / 2.0 }
    }

    /// What [`Window::centred`] takes.
    pub fn centre_and_width(self) -> [f32; 2] {
        [(self.low + self.high) / 2.0, self.high - self.low]
    }

    /// The grey of an intensity; a window without width shows black up to it and white above.
    pub fn grey(self, value: f32) -> u8 {
        let range = (self.high - self.low).max(f32::MIN_POSITIVE);
        // A value that is not a number casts to 0.
        ((value - self.low) / range * 255.0).clamp(0.0, 255.0).round() as u8
    }
}

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
/// Hatching: one stripe in so many pixels along a row, half of them at this share of `alpha`.
const HATCH_PIXELS: usize = 8;
const HATCH_SHARE: f32 = 0.35;

/// Canal and cord at this share of `alpha`: what a reader looks for lies inside them.
const CANAL_SHARE: f32 = 0.7;

/// One slice to draw: intensities and both masks, `columns` values a row.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a> {
    pub columns: usize,
    pub pixels: &'a [f32],
    pub semantic: &'a [u8],
    pub instances: &'a [u16],
}

impl Slice<'_> {
    /// What stands at a pixel. Neighbours are outlined against each other when these differ.
    fn label(&self, at: usize) -> (u8, u16) {
        (self.semantic[at], self.instances[at])
    }

    /// Whether a neighbour sharing an edge has another label; the picture's border is no outline.
    fn at_edge(&self, at: usize) -> bool {
        let column = at % self.columns;
        let mut near = [None; 4];
        near[0] = (column > 0).then(|| at - 1);
        near[1] = (column + 1 < self.columns).then_some(at + 1);
        near[2] = at.checked_sub(self.columns);
        near[3] = Some(at + self.columns).filter(|&below| below < self.semantic.len());
        near.into_iter().flatten().any(|other| self.label(other) != self.label(at))
    }
}

/// The slice in grey.
pub fn grey(slice: Slice<'_>, window: Window) -> Vec<[u8; 3]> {
    slice.pixels.iter().map(|&value| [window.grey(value); 3]).collect()
}

/// The slice in grey with its structures tinted and outlined. The three arrays of `slice` must be equally
/// long.
pub fn blend(slice: Slice<'_>, window: Window, style: Style) -> Vec<[u8; 3]> {
    let length = slice.pixels.len();
    assert!(slice.semantic.len() == length && slice.instances.len() == length, "one slice");
    let mut picture = grey(slice, window);
    for (at, pixel) in picture.iter_mut().enumerate() {
        let (value, vertebra) = slice.label(at);
        let Some(structure) = Structure::from_value(value) else { continue };
        let colour = tint(structure, vertebra);
        let outlined =
            matches!(structure, Structure::VertebralBody | Structure::Disc | Structure::Sacrum);
        if style.contours && outlined && slice.at_edge(at) {
            *pixel = mix(*pixel, colour, CONTOUR_ALPHA);
            continue;
        }
        let (row, column) = (at / slice.columns, at % slice.columns);
        let striped = style.hatched
            && structure.is_vertebra()
            && (row + column) % HATCH_PIXELS < HATCH_PIXELS / 2;
        let canal = matches!(structure, Structure::SpinalCanal | Structure::SpinalCord);
        let faint = if striped { HATCH_SHARE } else { 1.0 };
        let share = style.alpha * if canal { CANAL_SHARE } else { faint };
        *pixel = mix(*pixel, colour, share);
    }
    picture
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

/// `share` of `over` on `under`, per channel.
pub fn mix(under: [u8; 3], over: [u8; 3], share: f32) -> [u8; 3] {
    std::array::from_fn(|c| {
        (f32::from(under[c]) * (1.0 - share) + f32::from(over[c]) * share).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: u8 = Structure::VertebralBody as u8;

    #[test]
    fn window_maps_its_ends_to_black_and_white() {
        let window = Window::centred(100.0, 50.0);
        assert_eq!([0.0, 75.0, 100.0, 125.0, 900.0].map(|v| window.grey(v)), [0, 0, 128, 255, 255]);
        assert_eq!(Window::centred(5.0, 0.0).grey(5.1), 255);
        assert_eq!(window.grey(f32::NAN), 0);
    }

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
    fn neighbouring_vertebrae_differ_and_are_outlined_against_each_other() {
        assert_ne!(tint(Structure::VertebralBody, 20), tint(Structure::VertebralBody, 21));
        assert_eq!(tint(Structure::Disc, 120), tint(Structure::Disc, 121));
        let slice = Slice {
            columns: 4,
            pixels: &[0.0; 4],
            semantic: &[BODY; 4],
            instances: &[20, 20, 21, 21],
        };
        assert_eq!([0, 1, 2, 3].map(|at| slice.at_edge(at)), [false, true, true, false]);
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
