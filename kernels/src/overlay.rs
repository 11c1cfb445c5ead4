//! Pictures of slices: intensities in grey under a window, labels tinted and outlined over them.
//!
//! Which colour a label has is the caller's business; here is the arithmetic of pixels.

use crate::Volume;
use crate::statistics::percentiles;

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
        // A value that is not a number casts to 0.
        ((value - self.low) / self.range() * 255.0).clamp(0.0, 255.0).round() as u8
    }

    pub(crate) fn low(self) -> f32 {
        self.low
    }

    pub(crate) fn range(self) -> f32 {
        (self.high - self.low).max(f32::MIN_POSITIVE)
    }
}

/// How a label is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ink {
    /// Colours by the number at the place: even, odd.
    pub colours: [[u8; 3]; 2],
    /// Share of the colour over the image, 0 to 1.
    pub share: f32,
    /// The same within the stripes of a hatching.
    pub striped: f32,
    /// Share along the edge to another label or number, one pixel wide; `None` without an outline.
    pub outline: Option<f32>,
}

/// The ink of every label; `None` shows the image alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Palette([Option<Ink>; 256]);

impl Palette {
    pub fn new(ink: impl Fn(u8) -> Option<Ink>) -> Palette {
        Palette(std::array::from_fn(|label| ink(label as u8)))
    }

    pub fn ink(&self, label: u8) -> Option<Ink> {
        self.0[usize::from(label)]
    }
}

/// Hatching: one stripe in so many pixels along a row, half of them wide.
pub const HATCH_PIXELS: usize = 8;

/// One slice to draw: intensities, a label and a number for each, `columns` values a row.
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
    pub fn at_edge(&self, at: usize) -> bool {
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

/// The slice in grey with its labels tinted and outlined. The three arrays of `slice` must be equally long.
pub fn blend(slice: Slice<'_>, window: Window, palette: &Palette) -> Vec<[u8; 3]> {
    let length = slice.pixels.len();
    assert!(slice.semantic.len() == length && slice.instances.len() == length, "one slice");
    let mut picture = grey(slice, window);
    for (at, pixel) in picture.iter_mut().enumerate() {
        let (label, number) = slice.label(at);
        let Some(ink) = palette.ink(label) else { continue };
        let colour = ink.colours[usize::from(number % 2)];
        let (row, column) = (at / slice.columns, at % slice.columns);
        let share = match ink.outline.filter(|_| slice.at_edge(at)) {
            Some(outline) => outline,
            None if (row + column) % HATCH_PIXELS < HATCH_PIXELS / 2 => ink.striped,
            None => ink.share,
        };
        *pixel = mix(*pixel, colour, share);
    }
    picture
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

    #[test]
    fn window_maps_its_ends_to_black_and_white() {
        let window = Window::centred(100.0, 50.0);
        assert_eq!([0.0, 75.0, 100.0, 125.0, 900.0].map(|v| window.grey(v)), [0, 0, 128, 255, 255]);
        assert_eq!(Window::centred(5.0, 0.0).grey(5.1), 255);
        assert_eq!(window.grey(f32::NAN), 0);
    }

    #[test]
    fn the_border_of_the_picture_is_no_edge() {
        let slice = Slice {
            columns: 4,
            pixels: &[0.0; 4],
            semantic: &[49; 4],
            instances: &[20, 20, 21, 21],
        };
        assert_eq!([0, 1, 2, 3].map(|at| slice.at_edge(at)), [false, true, true, false]);
    }
}
