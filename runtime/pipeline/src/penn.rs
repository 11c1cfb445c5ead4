//! Enhancing tumours on Gd-T1 by the patch net: experimental, validated on drawn patients only, not for diagnosis.
//!
//! Slice by slice: threshold, blur, 0..1 ([`prepared`]), the net at every position of a window ([`kernels::patch_net`]:
//! the fully convolutional form), scores back to pixels ([`rebuilt`]), then what is probable, no crumb, and near the
//! spine. A patch counted as tumour in the training where 60 % of it are: a round lesion of less than 19 mm covers none so far, nor
//! does a long one narrower than 13 mm, and neither is seen. Nothing of it is in the product yet: there are no weights.

mod finding;
mod intensities;
mod rebuild;

pub use finding::{Compartment, Lesion};
pub use intensities::prepared;
pub use rebuild::{PADDING, padded, rebuilt};

use kernels::components::{self, Connectivity};
use kernels::patch_net::PatchNet;
use kernels::volume::PIR;
use kernels::{AxisMap, Dims, Grid, Volume, morphology, resample};
use serde::Serialize;
use thiserror::Error;

/// Pixels of the training: 260 mm of 384 (the paper's protocol).
pub const PIXEL_MM: f64 = 0.677;
/// Side of a patch in pixels.
pub const SIDE: usize = 32;
/// A pixel is tumour where this share of the net's outputs is the tumour's: where it is the larger one.
const PROBABLE: f32 = 0.5;
/// Smaller spots of a slice are dropped (design of the method).
const LEAST_MM2: f64 = 20.0;
/// What is further from the spine is none of it (design of the method).
const MARGIN_MM: f64 = 10.0;
/// Outputs of the net: other, tumour.
const OUTPUTS: usize = 2;

/// Why nothing is said of a series. None of these is "no lesion".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Error)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    #[error("no evidence of a contrast agent")]
    NoContrast,
    #[error("no masks of a T2w series in the frame of reference of this one")]
    NoMasks,
    #[error("the masks show no spine where this series lies")]
    NoSpine,
    #[error("all voxels are alike")]
    Flat,
    #[error("the weights are no patch net of {SIDE} x {SIDE} pixels and {OUTPUTS} outputs")]
    WrongNet,
}

/// Masks of the same patient in the same frame of reference, on any grid.
#[derive(Debug, Clone, Copy)]
pub struct Masks<'a> {
    /// [`crate::Structure`] values.
    pub semantic: &'a Volume<u8>,
    /// [`crate::VertebraId`] values.
    pub instances: &'a Volume<u16>,
}

/// A T1 series as far as this path wants to know it.
#[derive(Debug, Clone, Copy)]
pub struct Enhanced<'a> {
    pub image: &'a Volume<f32>,
    /// Whether the header gives evidence of an agent (class `t1_gd`).
    pub agent: bool,
    pub masks: Option<Masks<'a>>,
}

/// What the net says of a series.
#[derive(Debug, Clone)]
pub struct Tumours {
    /// 1 where tumour is, (P, I, R), of [`PIXEL_MM`] in plane, slices as acquired.
    pub mask: Volume<u8>,
    /// Largest first.
    pub lesions: Vec<Lesion>,
}

/// Looks for enhancing tumours, a patch every `stride` pixels.
///
/// # Errors
/// [`Unseen`] where the series, the masks or the net do not allow to say anything.
pub fn tumours(
    series: Enhanced<'_>,
    net: &PatchNet,
    stride: usize,
    threads: usize,
) -> Result<Tumours, Unseen> {
    if net.side() != SIDE || net.outputs() != OUTPUTS {
        return Err(Unseen::WrongNet);
    }
    if !series.agent {
        return Err(Unseen::NoContrast);
    }
    let masks = series.masks.ok_or(Unseen::NoMasks)?;
    let to_working = AxisMap::towards(&series.image.grid().affine, PIR);
    let image = resample::in_plane(&series.image.reoriented(&to_working), PIXEL_MM);
    let semantic = sampled(masks.semantic, image.grid());
    if semantic.voxels().iter().all(|&value| value == 0) {
        return Err(Unseen::NoSpine);
    }
    let instances = sampled(masks.instances, image.grid());
    let prepared = prepared(&image).ok_or(Unseen::Flat)?;
    let mut mask = probable(&prepared, net, stride, threads);
    drop_crumbs(&mut mask);
    let spine = semantic.map(|value| u8::from(value != 0));
    let near = morphology::dilate_in_plane(&spine, MARGIN_MM);
    mask.voxels_mut().iter_mut().zip(near.voxels()).for_each(|(value, near)| *value &= near);
    let lesions = finding::lesions(&mask, &semantic, &instances);
    Ok(Tumours { mask, lesions })
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

/// 1 where the mean of all patches over a pixel calls it tumour.
fn probable(prepared: &Volume<f32>, net: &PatchNet, stride: usize, threads: usize) -> Volume<u8> {
    let stride = stride.max(1);
    let [columns, rows, slices] = prepared.dims().counts();
    let mut mask = Volume::filled(*prepared.grid(), 0u8);
    let targets = mask.voxels_mut().chunks_exact_mut(columns * rows);
    for (k, target) in (0..slices).zip(targets) {
        let (plane, wide) = padded(prepared.slice(k), columns);
        let positions = net.positions([wide, rows + 2 * PADDING], stride);
        let outputs = net.scores(&plane, wide, stride, threads);
        let (pairs, _) = outputs.as_chunks::<OUTPUTS>();
        let scores: Vec<f32> = pairs.iter().map(|[other, tumour]| share(*other, *tumour)).collect();
        let probability = rebuilt(&scores, positions, [columns, rows], stride);
        target.iter_mut().zip(probability).for_each(|(v, p)| *v = u8::from(p > PROBABLE));
    }
    mask
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
