//! Slices of one exam with prediction and truth, drawn from the side: anterior to the left, superior up.
//!
//! Colours are the product's (`pipeline::overlay`). Labels are drawn as the voxels are, without smoothing: an edge that
//! the scores do not see would mislead.

use crate::evaluate::{Evaluated, Truth};
use kernels::components::Bounds;
use kernels::volume::PIR;
use kernels::{AxisMap, Volume};
use pipeline::overlay::{Slice, Style, Window, blend};
use pipeline::{Numbering, Structure, VertebraId};
use std::ops::Range;

/// Outline of what is annotated: no structure has a colour near it.
pub(super) const TRUTH_COLOUR: [u8; 3] = [255, 30, 60];
/// Height of a picture in pixels; the width follows from the millimetres.
const HEIGHT: f64 = 560.0;
/// Long narrow fields are drawn higher, so that they are this wide, but at most so many times.
const LEAST_WIDTH: f64 = 150.0;
const HIGHEST: f64 = 3.0;
/// Distance between the slices shown: 10 mm beside the middle lie facets and foramina, at 20 mm transverse processes.
const STEP_MM: f64 = 10.0;
/// Slices shown on each side of the middle one.
const ON_EACH_SIDE: usize = 2;
/// Millimetres shown in front of and behind the labels, and the narrowest and widest picture (width to height).
const AROUND_MM: f64 = 30.0;
const NARROWEST: f64 = 0.5;
const WIDEST: f64 = 0.75;

/// An exam ready to be drawn; all volumes run towards (P, I, R).
pub(super) struct Scene {
    image: Volume<f32>,
    semantic: Volume<u8>,
    instances: Volume<u16>,
    truth: Volume<Label>,
    window: Window,
    style: Style,
    /// Name of a vertebra and the row its body is centred at.
    levels: Vec<(String, f64)>,
}

/// One slice, drawn.
pub(super) struct Picture {
    pub(super) caption: String,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<[u8; 3]>,
    /// Names of vertebrae and where they stand, in shares of the height; in the middle slice only.
    pub(super) levels: Vec<(String, f64)>,
}

impl Scene {
    pub(super) fn new(exam: &Evaluated) -> Scene {
        let map = AxisMap::towards(&exam.image.grid().affine, PIR);
        let image = exam.image.reoriented(&map);
        let grid = *image.grid();
        let (mut levels, mut hatched) = (Vec::new(), false);
        if let Some(result) = &exam.result {
            hatched = !result.numbering.is_verified();
            levels.extend(result.vertebrae.iter().map(|vertebra| {
                let name = shown_name(result.numbering, vertebra.id);
                (name, grid.affine.index(vertebra.body_centroid_mm)[1])
            }));
        }
        let result = exam.result.as_ref();
        Scene {
            window: Window::of(&image),
            semantic: result
                .map_or_else(|| Volume::filled(grid, 0), |r| r.semantic.reoriented(&map)),
            instances: result
                .map_or_else(|| Volume::filled(grid, 0), |r| r.instances.reoriented(&map)),
            truth: truth_labels(exam).reoriented(&map),
            style: Style { hatched, ..Style::default() },
            levels,
            image,
        }
    }

    /// The middle slice and those beside it, from the patient's left to the right.
    pub(super) fn pictures(&self) -> Vec<Picture> {
        let count = self.image.dims().counts()[2];
        let pitch = self.image.grid().affine.spacing()[2];
        let middle = self.middle();
        // Narrow volumes show neighbouring slices rather than fewer.
        let room = middle.min(count - 1 - middle) / ON_EACH_SIDE;
        let step = ((STEP_MM / pitch).round() as usize).min(room).max(1);
        let first = middle.saturating_sub(ON_EACH_SIDE * step);
        let shown = (first..count).filter(|&k| k.abs_diff(middle) % step == 0);
        shown
            .take_while(|&k| k <= middle + ON_EACH_SIDE * step)
            .map(|k| {
                let side = if k < middle { "left" } else { "right" };
                let aside = k.abs_diff(middle) as f64 * pitch;
                let caption =
                    if k == middle { "middle".into() } else { format!("{aside:.0} mm {side}") };
                self.picture(k, caption, k == middle)
            })
            .collect()
    }

    /// The middle one of the slices with most of canal and cord, annotated or else predicted; without any, of the slices
    /// with most labels; else of all.
    fn middle(&self) -> usize {
        let canal = [Structure::SpinalCanal, Structure::SpinalCord].map(Structure::value);
        fullest(&self.truth, |v| canal.contains(&v.0))
            .or_else(|| fullest(&self.semantic, |v| canal.contains(&v)))
            .or_else(|| fullest(&self.semantic, |v| v != 0))
            .or_else(|| fullest(&self.truth, |v| v.0 != 0))
            .unwrap_or(self.image.dims().counts()[2] / 2)
    }

    fn picture(&self, k: usize, caption: String, named: bool) -> Picture {
        let [columns, rows, _] = self.image.dims().counts();
        let [across, down, _] = self.image.grid().affine.spacing();
        let range = self.columns();
        let ratio = (range.end - range.start) * across / (rows as f64 * down);
        let [width, height] = size(ratio);
        // Source column or row of each pixel of the picture, at its centre.
        let source = |range: &Range<f64>, n: usize, size: usize| {
            range.start + (n as f64 + 0.5) / size as f64 * (range.end - range.start)
        };
        let all_rows = 0.0..rows as f64;
        let places: Vec<[f64; 2]> = (0..height * width)
            .map(|at| [source(&range, at % width, width), source(&all_rows, at / width, height)])
            .collect();
        let nearest =
            |[x, y]: [f64; 2]| (x as usize).min(columns - 1) + columns * (y as usize).min(rows - 1);
        let offsets: Vec<usize> = places.iter().map(|&place| nearest(place)).collect();
        let (semantic, instances) = (self.semantic.slice(k), self.instances.slice(k));
        let slice = Slice {
            columns: width,
            pixels: &places
                .iter()
                .map(|&p| linear(self.image.slice(k), columns, p))
                .collect::<Vec<_>>(),
            semantic: &offsets.iter().map(|&n| semantic[n]).collect::<Vec<_>>(),
            instances: &offsets.iter().map(|&n| instances[n]).collect::<Vec<_>>(),
        };
        let mut pixels = blend(slice, self.window, self.style);
        let truth: Vec<Label> = offsets.iter().map(|&n| self.truth.slice(k)[n]).collect();
        outline(&mut pixels, &truth, width);
        let share = |row: &f64| (row + 0.5) / rows as f64;
        let names = self.levels.iter().filter(|_| named);
        let levels = names.map(|(name, row)| (name.clone(), share(row))).collect();
        Picture { caption, width, height, pixels, levels }
    }

    /// The columns to show: around everything labelled, in every slice the same.
    fn columns(&self) -> Range<f64> {
        let [columns, rows, _] = self.image.dims().counts();
        let [across, down, _] = self.image.grid().affine.spacing();
        let (whole, high) = (columns as f64, rows as f64 * down);
        let boxes = [Bounds::of(&self.semantic, |v| v != 0), Bounds::of(&self.truth, |v| v.0 != 0)];
        let ends = || boxes.iter().flatten().map(|b| (b.min[0] as f64, b.max[0] as f64 + 1.0));
        let both = ends().reduce(|(a, b), (c, d)| (a.min(c), b.max(d)));
        let (from, to) = both.unwrap_or((0.0, whole));
        let wanted = (to - from) * across + 2.0 * AROUND_MM;
        let wide = wanted.clamp(NARROWEST * high, WIDEST * high) / across;
        let half = wide.min(whole) / 2.0;
        let centre = ((from + to) / 2.0).clamp(half, whole - half);
        centre - half..centre + half
    }
}

/// The level, or a number that does not read like one.
pub(super) fn shown_name(numbering: Numbering, id: VertebraId) -> String {
    if numbering.is_verified() { id.name() } else { format!("#{}", id.value()) }
}

/// Width and height in pixels of a picture of so many millimetres in width for each in height.
fn size(ratio: f64) -> [usize; 2] {
    let height = HEIGHT * (LEAST_WIDTH / (HEIGHT * ratio)).clamp(1.0, HIGHEST);
    [(height * ratio).round().max(1.0) as usize, height.round() as usize]
}

/// The middle one of the slices with nearly the most `wanted` voxels.
fn fullest<T: Copy>(volume: &Volume<T>, wanted: impl Fn(T) -> bool) -> Option<usize> {
    /// Slices with this share of the most are equally good: the canal is wider than a thin slice.
    const NEARLY: f64 = 0.95;
    let slices = 0..volume.dims().counts()[2];
    let count = |k| volume.slice(k).iter().filter(|&&v| wanted(v)).count();
    let counts: Vec<usize> = slices.clone().map(count).collect();
    let most = counts.iter().copied().max().filter(|&most| most > 0)?;
    let good: Vec<usize> = slices.filter(|&k| counts[k] as f64 >= NEARLY * most as f64).collect();
    Some(good[good.len() / 2])
}

/// What is annotated at a voxel: a [`Structure`] value and a label of its instance; 0 and 0 for nothing.
type Label = (u8, u16);

/// The annotation as one volume, so that neighbouring instances and structures are parted by their labels.
fn truth_labels(exam: &Evaluated) -> Volume<Label> {
    let Truth { bodies, discs, vertebrae, s1, cord, structures } = &exam.truth;
    let mut labels = Volume::filled(*exam.image.grid(), (0, 0));
    if let Some(structures) = structures {
        let values = labels.voxels_mut().iter_mut().zip(structures.voxels());
        values.for_each(|(label, &structure)| label.0 = structure);
        if let Some(vertebrae) = vertebrae {
            let values = labels.voxels_mut().iter_mut().zip(vertebrae.labels.voxels());
            values.for_each(|(label, &vertebra)| label.1 = vertebra);
        }
        return labels;
    }
    let instances = [(Structure::VertebralBody, bodies), (Structure::Disc, discs)];
    let instances =
        instances.map(|(s, annotated)| (s, annotated.as_ref().map(|a| a.labels.clone())));
    let masks = [(Structure::Sacrum, s1), (Structure::SpinalCord, cord)];
    let masks = masks.map(|(s, mask)| (s, mask.as_ref().map(|mask| mask.map(u16::from))));
    for (structure, volume) in instances.into_iter().chain(masks) {
        let Some(volume) = volume else { continue };
        for (label, &value) in labels.voxels_mut().iter_mut().zip(volume.voxels()) {
            *label = if value == 0 { *label } else { (structure.value(), value) };
        }
    }
    labels
}

/// The intensity at a place given in pixels (pixel `n` covers `n..n + 1`), linear between centres.
fn linear(slice: &[f32], columns: usize, [x, y]: [f64; 2]) -> f32 {
    let rows = slice.len() / columns;
    let split = |v: f64, count: usize| {
        let v = (v - 0.5).clamp(0.0, (count - 1) as f64);
        let low = v as usize;
        (low, (low + 1).min(count - 1), (v - low as f64) as f32)
    };
    let ((x0, x1, u), (y0, y1, v)) = (split(x, columns), split(y, rows));
    let at = |x: usize, y: usize| slice[y * columns + x];
    let along = |y: usize| at(x0, y) * (1.0 - u) + at(x1, y) * u;
    along(y0) * (1.0 - v) + along(y1) * v
}

/// Draws the inner edge of every annotated area.
fn outline(pixels: &mut [[u8; 3]], truth: &[Label], width: usize) {
    let rows = truth.len() / width;
    for (at, pixel) in pixels.iter_mut().enumerate().filter(|&(at, _)| truth[at].0 != 0) {
        let (x, y) = (at % width, at / width);
        let differs = |other: usize| truth[other] != truth[at];
        let edge = (x > 0 && differs(at - 1))
            || (x + 1 < width && differs(at + 1))
            || (y > 0 && differs(at - width))
            || (y + 1 < rows && differs(at + width));
        if edge {
            *pixel = TRUTH_COLOUR;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_the_aspect() {
        assert_eq!(size(0.5), [280, 560]);
        assert_eq!(size(0.1), [150, 1500]);
        assert_eq!(size(0.01), [17, 1680]);
    }

    #[test]
    fn intensities_pass_through_the_centres_and_end_at_the_edge() {
        let slice = [0.0, 10.0, 20.0, 30.0];
        let at = |x, y| linear(&slice, 2, [x, y]);
        assert_eq!(
            [at(0.5, 0.5), at(1.5, 0.5), at(1.0, 0.5), at(1.0, 1.0)],
            [0.0, 10.0, 5.0, 15.0]
        );
        assert_eq!([at(0.0, 0.0), at(2.0, 2.0)], [0.0, 30.0]);
    }

    #[test]
    fn the_inner_edge_of_every_area_is_outlined() {
        let mut pixels = [[9; 3]; 12];
        let row = [(0, 0), (49, 5), (49, 5), (49, 7)];
        outline(&mut pixels, &row.repeat(3), 4);
        let red = |n: usize| pixels[n] == TRUTH_COLOUR;
        // Neither the background nor the border of the picture is an edge.
        assert!(!red(0) && red(1) && red(2) && red(3) && red(5) && red(9) && !red(4));
    }
}
