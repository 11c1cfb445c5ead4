//! Pictures for people: the overview PNG of a result, what a viewer draws slices from, text burned into RGB
//! slices.
//!
//! Slices are shown as radiologists hang them: anterior to the left, superior up, whatever the order of the
//! source. What a structure looks like is decided in `pipeline::overlay`; file names and delivery belong to
//! others.

mod canvas;
mod capture;
mod enlarge;
mod overview;
mod view;

use crate::identity::Provenance;
use canvas::{Canvas, Font};
pub use capture::captures;
use enlarge::Frame;
use kernels::components::Bounds;
use kernels::volume::PIR;
use kernels::{AxisMap, Volume};
use pipeline::overlay::{Slice, Style, Window, blend, grey};
use pipeline::{Flag, Numbering, Segmentation, Structure, VertebraId};
use view::{Annotations, Greys};
pub use view::{GREYS, VOXEL_BYTES, View};

/// The words every picture that leaves the device carries.
pub const NOT_FOR_DIAGNOSIS: &str = "Not for diagnostic use";

const TEXT: canvas::Colour = [222, 227, 233];
const MUTED: canvas::Colour = [134, 144, 156];
const WARNING: canvas::Colour = [255, 190, 84];

/// The name of a vertebra and where it stands.
#[derive(Debug, Clone)]
struct Level {
    /// `L4`; `#3` when the numbering is unverified.
    name: String,
    /// Its value in the instance mask.
    id: u16,
    /// Centre of the body, fractional index of the scene's grid.
    centre: [f64; 3],
}

/// A result ready to be drawn, in display orientation (`i` to posterior, `j` to inferior, `k` to right).
#[derive(Debug, Clone)]
pub struct Scene {
    image: Volume<f32>,
    semantic: Volume<u8>,
    instances: Volume<u16>,
    window: Window,
    levels: Vec<Level>,
    numbering: Numbering,
    sacrum: bool,
    flags: Vec<Flag>,
    /// Software, model and engine, one line.
    origin: String,
    greys: Greys,
    annotations: Annotations,
}

impl Scene {
    /// `image` and the masks of `segmentation` must be on one grid; `window` `None` takes percentiles of
    /// the image.
    pub fn new(
        image: &Volume<f32>,
        segmentation: &Segmentation,
        provenance: &Provenance,
        window: Option<Window>,
    ) -> Scene {
        let map = AxisMap::towards(&image.grid().affine, PIR);
        let image = image.reoriented(&map);
        let affine = image.grid().affine;
        let unverified = !segmentation.numbering.is_verified();
        // An unverified number must not read like a level.
        let name = |id: VertebraId| match unverified {
            true => format!("#{}", id.value()),
            false => id.name(),
        };
        let level = |vertebra: &pipeline::Vertebra| Level {
            name: name(vertebra.id),
            id: u16::from(vertebra.id.value()),
            centre: affine.index(vertebra.body_centroid_mm),
        };
        let levels: Vec<Level> = segmentation.vertebrae.iter().map(level).collect();
        Scene {
            greys: Greys::of(&image),
            annotations: Annotations::new(segmentation, &levels, &affine),
            window: window.unwrap_or_else(|| Window::of(&image)),
            semantic: segmentation.semantic.reoriented(&map),
            instances: segmentation.instances.reoriented(&map),
            levels,
            numbering: segmentation.numbering,
            sacrum: segmentation.sacrum,
            flags: segmentation.flags.clone(),
            origin: origin(provenance),
            image,
        }
    }

    /// How many slices there are, from left to right of the patient.
    pub fn slices(&self) -> usize {
        self.image.dims().counts()[2]
    }

    /// The middle one of the slices with most of the canal; without canal of those with most structures;
    /// without any the middle slice.
    pub fn midsagittal(&self) -> usize {
        let canal = [Structure::SpinalCanal.value(), Structure::SpinalCord.value()];
        self.fullest(|v| canal.contains(&v))
            .or_else(|| self.fullest(|v| v != 0))
            .unwrap_or(self.slices() / 2)
    }

    /// Of the slices with nearly the most `wanted` voxels, the one nearest to their centre of mass.
    fn fullest(&self, wanted: impl Fn(u8) -> bool) -> Option<usize> {
        /// Slices with this share of the most are equally good: the canal is wider than a thin slice.
        const NEARLY: f64 = 0.95;
        let counts: Vec<usize> = (0..self.slices())
            .map(|k| self.semantic.slice(k).iter().filter(|&&v| wanted(v)).count())
            .collect();
        let total: usize = counts.iter().sum();
        let most = *counts.iter().max()? as f64;
        if total == 0 {
            return None;
        }
        let centre = counts.iter().enumerate().map(|(k, n)| k * n).sum::<usize>() as f64;
        let aside = |k: usize| (k as f64 - centre / total as f64).abs();
        let good = (0..self.slices()).filter(|&k| counts[k] as f64 >= NEARLY * most);
        good.min_by(|&a, &b| aside(a).total_cmp(&aside(b)))
    }

    /// The overview as PNG: midsagittal slice without and with overlay, two paracentral slices, legend,
    /// notes, origin.
    pub fn overlay_png(&self) -> Vec<u8> {
        overview::draw(self).png()
    }

    /// The same picture as its columns and its pixels, rows from top to bottom.
    pub fn overlay(&self) -> (usize, Vec<[u8; 3]>) {
        let picture = overview::draw(self);
        (picture.width(), picture.into_pixels())
    }

    /// Slice `k` inside `frame`, enlarged smoothly.
    fn panel(&self, k: usize, frame: &Frame, overlay: bool) -> Canvas {
        let columns = self.image.dims().counts()[0];
        let pixels = enlarge::intensities(self.image.slice(k), columns, frame);
        // Both masks vote as one label, so that their outlines stay together.
        let pairs = self.semantic.slice(k).iter().copied();
        let pairs: Vec<_> = pairs.zip(self.instances.slice(k).iter().copied()).collect();
        let (semantic, instances) = if overlay {
            enlarge::labels(&pairs, columns, frame).into_iter().unzip()
        } else {
            (Vec::new(), Vec::new())
        };
        let slice = Slice {
            columns: frame.width,
            pixels: &pixels,
            semantic: &semantic,
            instances: &instances,
        };
        let hatched = !self.numbering.is_verified();
        let picture = if overlay {
            blend(slice, self.window, Style { hatched, ..Style::default() })
        } else {
            grey(slice, self.window)
        };
        Canvas::of(frame.width, picture)
    }

    /// Writes each level's name in front of its body.
    fn name_levels(&self, picture: &mut Canvas, k: usize, frame: &Frame) {
        /// Free pixels between a name and its body.
        const GAP: f64 = 14.0;
        let unverified = !self.numbering.is_verified();
        let colour = if unverified { WARNING } else { TEXT };
        let scale = frame.width as f64 / (frame.columns.end - frame.columns.start);
        let drop = frame.height as f64 / (frame.rows.end - frame.rows.start);
        for level in &self.levels {
            let Some(body) = self.body_in_slice(level, k) else { continue };
            let front = (body.min[0] as f64 - frame.columns.start) * scale;
            let middle = (body.min[1] + body.max[1] + 1) as f64 / 2.0;
            let x = front - GAP - Font::Label.width(&level.name) as f64;
            let y = (middle - frame.rows.start) * drop - Font::Label.height() as f64 / 2.0;
            let at = [x.max(4.0) as isize, y as isize];
            picture.outlined_text(at, Font::Label, colour, &level.name);
        }
    }

    /// The box around a level's body in slice `k`: near its centre only, since a stray voxel must not move
    /// the name.
    fn body_in_slice(&self, level: &Level, k: usize) -> Option<Bounds> {
        /// Half of the largest body (L5: about 50 mm deep, 35 mm high) with room to spare.
        const REACH_MM: [f64; 2] = [35.0, 28.0];
        let [columns, rows, _] = self.image.dims().counts();
        let spacing = self.image.grid().affine.spacing();
        let range = |axis: usize, count: usize| {
            let reach = REACH_MM[axis] / spacing[axis];
            let low = (level.centre[axis] - reach).max(0.0) as usize;
            low..((level.centre[axis] + reach).max(0.0) as usize).min(count)
        };
        let mut bounds: Option<Bounds> = None;
        for j in range(1, rows) {
            for i in range(0, columns) {
                let at = [i, j, k];
                let body = self.semantic.at(at) == Structure::VertebralBody.value();
                if body && self.instances.at(at) == level.id {
                    let known = bounds.unwrap_or(Bounds { min: at, max: at });
                    bounds = Some(Bounds {
                        min: [known.min[0].min(i), known.min[1], k],
                        max: [known.max[0].max(i), j, k],
                    });
                }
            }
        }
        bounds
    }
}

/// Pixels across a panel of `height` for a ratio of width to height; at most 4 times as wide as high,
/// whatever the affine.
fn panel_width(height: usize, ratio: f64) -> usize {
    (height as f64 * ratio.clamp(0.05, 4.0)).round() as usize
}

/// Software, model and engine in one line.
fn origin(provenance: &Provenance) -> String {
    /// Enough of the hash to tell two releases apart; the whole is in the report.
    const HASH_DIGITS: usize = 12;
    let hash: String = provenance.weights_sha256.chars().take(HASH_DIGITS).collect();
    format!(
        "{}  |  {} {} ({hash})  |  {}",
        provenance.software, provenance.model, provenance.model_version, provenance.engine
    )
}

/// Writes lines at the bottom of an RGB slice of `columns`, over a darkened strip, broken between words to
/// fit. Lines that find no room are dropped from the end: put the most important first. For the secondary
/// capture.
pub fn burn_text(rgb: &mut Vec<[u8; 3]>, columns: usize, lines: &[String]) {
    /// Free pixels around the text.
    const MARGIN: usize = 4;
    /// How much the strip is darkened: the anatomy below stays visible.
    const STRIP: f32 = 0.6;
    if columns == 0 || rgb.len() < columns {
        return;
    }
    let mut picture = Canvas::of(columns, std::mem::take(rgb));
    let room = columns.saturating_sub(2 * MARGIN) / Font::Body.advance();
    let height = Font::Body.height();
    let mut text: Vec<String> = lines.iter().flat_map(|line| wrap(line, room)).collect();
    text.truncate(picture.height().saturating_sub(2 * MARGIN) / height);
    let strip = text.len() * height + 2 * MARGIN;
    let top = picture.height().saturating_sub(strip);
    if !text.is_empty() {
        picture.rectangle([0, top], [columns, strip], [0; 3], STRIP);
    }
    for (n, line) in text.iter().enumerate() {
        let at = [MARGIN as isize, (top + MARGIN + n * height) as isize];
        picture.text(at, Font::Body, if n == 0 { WARNING } else { TEXT }, line);
    }
    *rgb = picture.into_pixels();
}

/// `line` in pieces of at most `room` characters, broken between words; longer words are cut.
fn wrap(line: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut current = String::new();
    for word in line.split_whitespace() {
        let word: String = word.chars().take(room).collect();
        if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut current));
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(&word);
    }
    lines.push(current);
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests;
