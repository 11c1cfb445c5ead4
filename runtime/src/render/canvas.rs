//! A picture being drawn: rectangles, pictures in pictures, text, PNG. Everything outside the canvas is cut
//! off.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use pipeline::overlay::mix;

/// sRGB.
pub(crate) type Colour = [u8; 3];

/// Text sizes in use; glyphs are monospaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Font {
    Title,
    Label,
    Body,
}

impl Font {
    fn face(self) -> (FontWeight, RasterHeight) {
        match self {
            Font::Title => (FontWeight::Bold, RasterHeight::Size24),
            Font::Label => (FontWeight::Bold, RasterHeight::Size20),
            Font::Body => (FontWeight::Regular, RasterHeight::Size16),
        }
    }

    /// Pixels from one line to the next.
    pub(crate) fn height(self) -> usize {
        self.face().1.val()
    }

    /// Pixels from one glyph to the next.
    pub(crate) fn advance(self) -> usize {
        let (weight, height) = self.face();
        get_raster_width(weight, height)
    }

    pub(crate) fn width(self, text: &str) -> usize {
        self.advance() * text.chars().count()
    }
}

/// An RGB picture, rows from top to bottom.
#[derive(Debug, Clone)]
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    pub(crate) fn filled(width: usize, height: usize, colour: Colour) -> Canvas {
        Canvas { width, height, pixels: vec![colour; width * height] }
    }

    /// `pixels` must fill whole rows of `width`.
    pub(crate) fn of(width: usize, pixels: Vec<Colour>) -> Canvas {
        assert!(width > 0 && pixels.len().is_multiple_of(width), "whole rows");
        Canvas { width, height: pixels.len() / width, pixels }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn height(&self) -> usize {
        self.height
    }

    pub(crate) fn into_pixels(self) -> Vec<Colour> {
        self.pixels
    }

    /// Lays `share` of a colour over a pixel.
    fn lay(&mut self, x: isize, y: isize, colour: Colour, share: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.width && y < self.height {
            let pixel = &mut self.pixels[y * self.width + x];
            *pixel = mix(*pixel, colour, share);
        }
    }

    pub(crate) fn rectangle(
        &mut self,
        [x, y]: [usize; 2],
        [w, h]: [usize; 2],
        colour: Colour,
        share: f32,
    ) {
        for row in y..(y + h).min(self.height) {
            for column in x..(x + w).min(self.width) {
                let pixel = &mut self.pixels[row * self.width + column];
                *pixel = mix(*pixel, colour, share);
            }
        }
    }

    pub(crate) fn picture(&mut self, [x, y]: [usize; 2], other: &Canvas) {
        let width = other.width.min(self.width.saturating_sub(x));
        for row in 0..other.height.min(self.height.saturating_sub(y)) {
            let to = (y + row) * self.width + x;
            let from = row * other.width;
            self.pixels[to..to + width].copy_from_slice(&other.pixels[from..from + width]);
        }
    }

    /// Draws a line of text with its top left corner at `(x, y)`; glyphs the font lacks become `?`.
    pub(crate) fn text(&mut self, [x, y]: [isize; 2], font: Font, colour: Colour, text: &str) {
        let (weight, height) = font.face();
        let glyph = |c| get_raster(c, weight, height);
        for (n, character) in text.chars().enumerate() {
            let Some(raster) = glyph(character).or_else(|| glyph('?')) else { continue };
            let left = x + (n * font.advance()) as isize;
            for (row, line) in raster.raster().iter().enumerate() {
                for (column, &ink) in line.iter().enumerate().filter(|&(_, &ink)| ink > 0) {
                    let at = (left + column as isize, y + row as isize);
                    self.lay(at.0, at.1, colour, f32::from(ink) / 255.0);
                }
            }
        }
    }

    /// Text readable on any image: over a soft dark rim.
    pub(crate) fn outlined_text(
        &mut self,
        [x, y]: [isize; 2],
        font: Font,
        colour: Colour,
        text: &str,
    ) {
        const RIM: Colour = [8, 10, 12];
        for (dx, dy) in [(-1, -1), (1, -1), (-1, 1), (1, 1), (0, 2), (2, 0), (0, -2), (-2, 0)] {
            self.text([x + dx, y + dy], font, RIM, text);
        }
        self.text([x, y], font, colour, text);
    }

    /// Half the size, each pixel the mean of four: smooth edges for pictures drawn twice as large. An odd
    /// last row or column is dropped.
    pub(crate) fn halved(&self) -> Canvas {
        let (width, height) = (self.width / 2, self.height / 2);
        let at = |x: usize, y: usize| self.pixels[y * self.width + x];
        let mean = |x: usize, y: usize| {
            let four = [at(x, y), at(x + 1, y), at(x, y + 1), at(x + 1, y + 1)];
            std::array::from_fn(|c| {
                ((four.iter().map(|p| u16::from(p[c])).sum::<u16>() + 2) / 4) as u8
            })
        };
        let pixels = (0..width * height).map(|n| mean(n % width * 2, n / width * 2)).collect();
        Canvas { width, height, pixels }
    }

    /// The picture as PNG; equal pictures are equal bytes.
    pub(crate) fn png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(self.pixels.as_flattened()))
            .expect("memory takes any picture of the announced size");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_canvas_is_cut_off() {
        let mut canvas = Canvas::filled(20, 10, [0; 3]);
        canvas.text([-5, -5], Font::Title, [255; 3], "Wide \u{1f600}");
        canvas.outlined_text([15, 5], Font::Body, [255; 3], "out");
        canvas.rectangle([18, 8], [90, 90], [9; 3], 1.0);
        canvas.picture([15, 5], &Canvas::filled(50, 50, [7; 3]));
        canvas.picture([99, 99], &Canvas::filled(5, 5, [7; 3]));
        assert_eq!(canvas.into_pixels()[10 * 20 - 1], [7; 3]);
    }

    #[test]
    fn png_is_readable_and_the_same_each_time() {
        let mut canvas = Canvas::filled(33, 21, [10, 20, 30]);
        canvas.text([2, 2], Font::Body, [200; 3], "L4");
        let bytes = canvas.png();
        assert_eq!(bytes, canvas.png());
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; 33 * 21 * 3];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, canvas.pixels.as_flattened());
    }

    #[test]
    fn halving_takes_the_mean_of_four() {
        let canvas = Canvas::of(3, [[0; 3], [4; 3], [9; 3], [8; 3], [2; 3], [9; 3]].to_vec());
        assert_eq!(canvas.halved().into_pixels(), [[4; 3]]);
    }
}
