//! What a viewer that draws by itself needs of a scene: numbers and names once, then the voxels of each slice.

use super::{Level, Scene};
use kernels::{Affine, Volume};
use pipeline::measure::{Extent, MeasuredLine, VertebraMeasures};
use pipeline::overlay::Window;
use pipeline::{Flag, Numbering, Segmentation, Structure};
use serde::Serialize;

/// Greys of a slice: 12 bits, as many as scanners store.
pub const GREYS: u16 = 4096;
/// Black and white of the greys, percentiles of the volume: a hot voxel must not take the greys of all others.
const BOUNDS: [f64; 2] = [0.0, 99.99];
/// Bytes of one voxel of [`Scene::voxels`].
pub const VOXEL_BYTES: usize = 4;

/// A scene without its voxels. Holds no patient data.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// Columns to posterior, rows to inferior, slices to the right of the patient.
    dims: [usize; 3],
    spacing_mm: [f64; 3],
    /// The slice to show first.
    midsagittal: usize,
    greys: u16,
    /// Black and white to begin with, in greys of the slices.
    window: [f32; 2],
    numbering: Numbering,
    /// Whether a landmark names the levels.
    verified: bool,
    flags: Vec<Flag>,
    /// Those that the semantic mask has.
    structures: Vec<StructureView>,
    vertebrae: Vec<VertebraView>,
    lines: Vec<LineView>,
}

#[derive(Debug, Clone, Serialize)]
struct StructureView {
    value: u8,
    name: &'static str,
    colour: [u8; 3],
    /// Part of one vertebra.
    vertebra: bool,
}

/// One vertebra: its name and what speaks for it.
#[derive(Debug, Clone, Serialize)]
struct VertebraView {
    id: u8,
    /// `L4`; `#3` where no landmark fixes the numbers.
    name: String,
    /// What shapes and sizes alone take it for, best first; a hint, never a level.
    likely: Vec<LikelyView>,
    /// Centre of the body, fractional index of the slices.
    centre: [f64; 3],
    measures: Option<VertebraMeasures>,
}

#[derive(Debug, Clone, Serialize)]
struct LikelyView {
    level: String,
    /// By how much the log-likelihood of its run is below the best one's.
    behind: f64,
}

/// A measure to be drawn.
#[derive(Debug, Clone, Serialize)]
struct LineView {
    vertebra: u8,
    extent: Extent,
    mm: f64,
    /// Upper and lower end, fractional index of the slices.
    ends: [[f64; 3]; 2],
    /// Slices from its own that it was read from to either side.
    aside: f64,
}

/// What [`View`] needs beside the voxels of a scene.
#[derive(Debug, Clone)]
pub(super) struct Annotations {
    vertebrae: Vec<VertebraView>,
    lines: Vec<LineView>,
}

impl Annotations {
    /// `levels`: one a vertebra of `segmentation`; `affine`: of the scene.
    pub(super) fn new(
        segmentation: &Segmentation,
        levels: &[Level],
        affine: &Affine,
    ) -> Annotations {
        let likely = |n: usize| {
            let runs = segmentation.likely.iter();
            let levels = runs.filter_map(|run| Some((run.levels.get(n)?, run.behind)));
            levels.map(|(id, behind)| LikelyView { level: id.name(), behind }).collect()
        };
        let vertebrae = segmentation.vertebrae.iter().zip(levels).enumerate();
        let vertebrae = vertebrae.map(|(n, (vertebra, level))| VertebraView {
            id: vertebra.id.value(),
            name: level.name.clone(),
            likely: likely(n),
            centre: level.centre,
            measures: segmentation.measures.vertebrae.get(n).cloned(),
        });
        let slice_mm = affine.spacing()[2];
        let line = |line: &MeasuredLine| LineView {
            vertebra: line.vertebra.value(),
            extent: line.extent,
            mm: distance(line.ends_mm),
            ends: line.ends_mm.map(|end| affine.index(end)),
            aside: line.aside_mm / slice_mm,
        };
        let lines = segmentation.measures.lines.iter().map(line).collect();
        Annotations { vertebrae: vertebrae.collect(), lines }
    }
}

fn distance([a, b]: [[f64; 3]; 2]) -> f64 {
    kernels::volume::norm(kernels::volume::sub(a, b))
}

/// Intensities to greys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Greys(Window);

impl Greys {
    pub(super) fn of(image: &Volume<f32>) -> Greys {
        let [low, high] = kernels::statistics::percentiles(image.voxels(), &BOUNDS)[..] else {
            unreachable!("one value a percentile");
        };
        Greys(Window::centred((low + high) / 2.0, high - low))
    }

    fn grey(self, value: f32) -> f32 {
        let [centre, width] = self.0.centre_and_width();
        let share = (value - centre) / width.max(f32::MIN_POSITIVE) + 0.5;
        share * f32::from(GREYS - 1)
    }

    /// Of a voxel; what is no number is black, as a cast makes it.
    fn of_voxel(self, value: f32) -> u16 {
        self.grey(value).clamp(0.0, f32::from(GREYS - 1)).round() as u16
    }
}

impl Scene {
    /// Everything but the voxels.
    pub fn view(&self) -> View {
        let grid = self.image.grid();
        let [centre, width] = self.window.centre_and_width();
        let ends = [centre - width / 2.0, centre + width / 2.0];
        let mut present = [false; 256];
        self.semantic.voxels().iter().for_each(|&value| present[usize::from(value)] = true);
        let structures = Structure::ALL.into_iter().filter(|s| present[usize::from(s.value())]);
        View {
            dims: grid.dims.counts(),
            spacing_mm: grid.affine.spacing(),
            midsagittal: self.midsagittal(),
            greys: GREYS,
            window: ends.map(|end| self.greys.grey(end)),
            numbering: self.numbering,
            verified: self.numbering.is_verified(),
            flags: self.flags.clone(),
            structures: structures
                .map(|structure| StructureView {
                    value: structure.value(),
                    name: structure.name(),
                    colour: structure.colour(),
                    vertebra: structure.is_vertebra(),
                })
                .collect(),
            vertebrae: self.annotations.vertebrae.clone(),
            lines: self.annotations.lines.clone(),
        }
    }

    /// The voxels of slice `k`, plane after plane, rows from top to bottom: greys (two bytes each, the lower first), the
    /// semantic mask, the instance mask. `None` where there is no such slice.
    pub fn voxels(&self, k: usize) -> Option<Vec<u8>> {
        if k >= self.slices() {
            return None;
        }
        let pixels = self.image.slice(k);
        let mut bytes = Vec::with_capacity(VOXEL_BYTES * pixels.len());
        bytes.extend(pixels.iter().flat_map(|&value| self.greys.of_voxel(value).to_le_bytes()));
        bytes.extend_from_slice(self.semantic.slice(k));
        // Ids end at 28, those of endplates at 228: `VertebraId`.
        bytes.extend(self.instances.slice(k).iter().map(|&id| u8::try_from(id).unwrap_or(0)));
        Some(bytes)
    }
}
