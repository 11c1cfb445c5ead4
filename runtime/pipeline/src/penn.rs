//! Enhancing tumours on Gd-T1 by the patch net: experimental, validated on drawn patients only, not for diagnosis.
//!
//! Slice by slice: threshold, blur, 0..1 ([`prepared`]), the net at every position of a window ([`kernels::patch_net`]:
//! the fully convolutional form), scores back to pixels ([`Reconstruction`]), then what is probable, no crumb, and near the
//! spine. A patch counted as tumour in the training where 60 % of it are: what is smaller than [`LEAST_ROUND_MM`] or
//! narrower than [`LEAST_LONG_MM`] covers none so far, and is not seen.

mod finding;
mod intensities;
mod rebuild;

pub use finding::{Compartment, Lesion};
pub use intensities::{preparation, prepared};
pub use rebuild::{PADDING, Reconstruction, padded, rebuilt};

use finding::Masks;
use kernels::components::{self, Connectivity};
use kernels::conv::InstructionSet;
use kernels::patch_net::{PatchNet, Sweep};
use kernels::volume::PIR;
use kernels::{AxisMap, Dims, Grid, Volume, morphology, resample};
use serde::Serialize;
use thiserror::Error;

/// What every output says of what is found here.
pub const STATUS: &str = "experimental, synthetic-validated, not for diagnosis";
/// Pixels of the training: 260 mm of 384 (the paper's protocol).
pub const PIXEL_MM: f64 = 0.677;
/// Side of a patch in pixels.
pub const SIDE: usize = 32;
/// Outputs of the net: other, tumour.
pub const OUTPUTS: usize = 2;
/// A disc of this diameter fills 60 % of a patch (21.7 mm wide): a smaller round lesion is invisible.
pub const LEAST_ROUND_MM: f64 = 19.0;
/// A band of this width fills 60 % of a patch: a narrower lesion is invisible, however long.
pub const LEAST_LONG_MM: f64 = 13.0;
/// Smaller spots of a slice are dropped (design of the method).
const LEAST_MM2: f64 = 20.0;
/// What is further from the spine is none of it (design of the method).
const MARGIN_MM: f64 = 10.0;
/// More parts are no lesions that anybody could look through one by one: motion, metal, or an image the net does not know.
pub const MOST_LESIONS: usize = 32;

/// Why nothing is said of a series. None of these is "no lesion".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Error)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    #[error("the header gives no evidence of a contrast agent")]
    NoContrast,
    #[error("the masks show no spine")]
    NoSpine,
    #[error("all voxels are alike")]
    Flat,
    #[error(
        "more than {MOST_LESIONS} parts were called tumour: motion, metal, or an image unlike those of the training"
    )]
    TooMany,
}

impl Unseen {
    pub const ALL: [Unseen; 4] =
        [Unseen::NoContrast, Unseen::NoSpine, Unseen::Flat, Unseen::TooMany];
}

/// The net is not one of this method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the weights are no patch net of {SIDE} x {SIDE} pixels and {OUTPUTS} outputs")]
pub struct WrongNet;

/// How the net is used: chosen on patients that it did not learn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Pixels from patch to patch, one at least.
    pub stride: usize,
    pub reconstruction: Reconstruction,
    /// A pixel is tumour where the tumour's share of both outputs is above: at .5 where it is the larger one.
    pub threshold: f32,
}

/// The net, and how it is used.
#[derive(Debug, Clone)]
pub struct Detector {
    sweep: Sweep,
    reading: Reading,
}

/// A segmented series as far as this path wants to know it.
#[derive(Debug, Clone, Copy)]
pub struct Enhanced<'a> {
    pub image: &'a Volume<f32>,
    /// Whether the header gives evidence of an agent (class `t1_gd`).
    pub agent: bool,
    /// [`crate::Structure`] values on the image's grid.
    pub semantic: &'a Volume<u8>,
    /// [`crate::VertebraId`] values on the image's grid.
    pub instances: &'a Volume<u16>,
}

/// What the net says of a series.
#[derive(Debug, Clone)]
pub struct Tumours {
    /// The number of the lesion from 1 on, 0 elsewhere, on the image's grid.
    pub mask: Volume<u16>,
    /// Largest first: the first is number 1 in the mask.
    pub lesions: Vec<Lesion>,
    /// Parts that the net called tumour further than 10 mm from the spine: not told as lesions.
    pub elsewhere: usize,
}

impl Detector {
    pub fn new(net: PatchNet, reading: Reading) -> Result<Detector, WrongNet> {
        let fits = net.side() == SIDE && net.outputs() == OUTPUTS && reading.stride > 0;
        fits.then(|| Detector { sweep: Sweep::new(net, reading.stride), reading }).ok_or(WrongNet)
    }

    /// Looks for enhancing tumours on `threads` cores.
    ///
    /// # Errors
    /// [`Unseen`] where the series or its masks do not allow to say anything.
    pub fn tumours(&self, series: Enhanced<'_>, threads: usize) -> Result<Tumours, Unseen> {
        if !series.agent {
            return Err(Unseen::NoContrast);
        }
        if series.semantic.voxels().iter().all(|&value| value == 0) {
            return Err(Unseen::NoSpine);
        }
        let to_working = AxisMap::towards(&series.image.grid().affine, PIR);
        let image = resample::in_plane(&series.image.reoriented(&to_working), PIXEL_MM);
        let semantic = sampled(series.semantic, image.grid());
        let instances = sampled(series.instances, image.grid());
        let prepared = prepared(&image).ok_or(Unseen::Flat)?;
        let mut mask = self.probable(&prepared, threads);
        drop_crumbs(&mut mask);
        let spine = semantic.map(|value| u8::from(value != 0));
        let near = morphology::dilate_in_plane(&spine, MARGIN_MM);
        let elsewhere = apart(&mask, &near);
        mask.voxels_mut().iter_mut().zip(near.voxels()).for_each(|(value, near)| *value &= near);
        let parts = components::label(&mask, Connectivity::Corners26);
        if parts.parts.len() > MOST_LESIONS {
            return Err(Unseen::TooMany);
        }
        let masks = Masks { semantic: &semantic, instances: &instances };
        let (numbers, lesions) = finding::lesions(&mask, &parts, masks);
        Ok(Tumours { mask: sampled(&numbers, series.image.grid()), lesions, elsewhere })
    }

    /// 1 where the patches over a pixel call it tumour.
    fn probable(&self, prepared: &Volume<f32>, threads: usize) -> Volume<u8> {
        let Reading { stride, reconstruction, threshold } = self.reading;
        let [columns, rows, slices] = prepared.dims().counts();
        let mut mask = Volume::filled(*prepared.grid(), 0u8);
        let targets = mask.voxels_mut().chunks_exact_mut(columns * rows);
        for (k, target) in (0..slices).zip(targets) {
            let (plane, wide) = padded(prepared.slice(k), columns);
            let positions = self.sweep.net().positions([wide, rows + 2 * PADDING], stride);
            let outputs = self.sweep.scores(InstructionSet::best(), &plane, wide, threads);
            let (pairs, _) = outputs.as_chunks::<OUTPUTS>();
            let scores: Vec<f32> =
                pairs.iter().map(|[other, tumour]| share(*other, *tumour)).collect();
            let size = [columns, rows];
            let probability = rebuilt(reconstruction, &scores, positions, size, stride);
            target.iter_mut().zip(probability).for_each(|(v, p)| *v = u8::from(p > threshold));
        }
        mask
    }
}

/// Parts of `mask` that no voxel of `near` is in.
fn apart(mask: &Volume<u8>, near: &Volume<u8>) -> usize {
    let parts = components::label(mask, Connectivity::Corners26);
    let touches = |n: &usize| parts.runs_of(*n).flatten().any(|place| near.voxels()[place] != 0);
    (0..parts.parts.len()).filter(|n| !touches(n)).count()
}

/// The label nearest to each voxel of `grid`, whatever the orientations; none outside of the masks.
fn sampled<T: Copy + Default>(labels: &Volume<T>, grid: &Grid) -> Volume<T> {
    let counts = labels.dims().counts();
    let at = |place: usize| {
        let index = grid.dims.index(place).map(|n| n as f64);
        let there = labels.grid().affine.index(grid.affine.world(index)).map(f64::round);
        let inside = (0..3).all(|n| there[n] >= 0.0 && there[n] < counts[n] as f64);
        if inside { labels.at(there.map(|n| n as usize)) } else { T::default() }
    };
    let voxels = (0..grid.dims.voxels()).map(at).collect();
    Volume::new(*grid, voxels).expect("one label per voxel")
}

/// The tumour's share of both outputs.
fn share(other: f32, tumour: f32) -> f32 {
    tumour / (other + tumour).max(f32::MIN_POSITIVE)
}

/// Small spots of every slice by itself become background.
fn drop_crumbs(mask: &mut Volume<u8>) {
    let Grid { dims, affine } = *mask.grid();
    let [columns, rows, _] = dims.counts();
    let [i, j, _] = affine.spacing();
    let dims = Dims::new([columns, rows, 1]).expect("a slice of a volume that exists");
    for slice in mask.voxels_mut().chunks_exact_mut(columns * rows) {
        let mut plane = Volume::new(Grid { dims, affine }, slice.to_vec()).expect("one slice");
        let parts = components::label(&plane, Connectivity::Corners26);
        parts.erase(&mut plane, |part| part.voxels as f64 * i * j < LEAST_MM2);
        slice.copy_from_slice(plane.voxels());
    }
}
