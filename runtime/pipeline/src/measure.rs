//! Numbers and warnings from the finished masks.

use crate::labels::{Structure, VertebraId};
use crate::result::{Flag, Numbering, Vertebra};
use kernels::Volume;

/// A body more than this many times the median of its neighbours is suspected to be two.
const TOO_LARGE: f64 = 2.0;
/// Share of the spine's voxels in the outermost slices from which the spine counts as cut there.
const CUT_SHARE: f64 = 0.02;

/// One [`Vertebra`] per id, from the masks on the source grid; `slice_axis` is the axis across the slices.
pub fn vertebrae(
    semantic: &Volume<u8>,
    instances: &Volume<u16>,
    ids: &[VertebraId],
) -> Vec<Vertebra> {
    let affine = semantic.grid().affine;
    let voxel_ml = affine.spacing().iter().product::<f64>() / 1000.0;
    let dims = semantic.dims();
    let last = dims.counts().map(|n| n - 1);
    let mut sums = vec![([0.0f64; 3], 0.0f64, false); ids.len()];
    for (offset, &value) in semantic.voxels().iter().enumerate() {
        if value != Structure::VertebralBody.value() {
            continue;
        }
        let instance = instances.voxels()[offset];
        let Some(n) = ids.iter().position(|id| u16::from(id.value()) == instance) else { continue };
        let index = dims.index(offset);
        let (sum, voxels, cut) = &mut sums[n];
        for axis in 0..3 {
            sum[axis] += index[axis] as f64;
            *cut |= index[axis] == 0 || index[axis] == last[axis];
        }
        *voxels += 1.0;
    }
    ids.iter()
        .zip(sums)
        .filter(|(_, (_, voxels, _))| *voxels > 0.0)
        .map(|(&id, (sum, voxels, truncated))| {
            let centre = sum.map(|s| s / voxels);
            Vertebra {
                id,
                body_centroid_index: centre,
                body_centroid_mm: affine.world(centre),
                body_ml: voxels * voxel_ml,
                truncated,
            }
        })
        .collect()
}

/// What a reader must know about the result.
pub fn flags(
    vertebrae: &[Vertebra],
    discs: usize,
    numbering: Numbering,
    semantic: &Volume<u8>,
    slice_axis: usize,
) -> Vec<Flag> {
    let mut flags = Vec::new();
    if numbering == Numbering::Unverified {
        flags.push(Flag::LevelUnverified);
    }
    let between = vertebrae.len().saturating_sub(1);
    if discs < between || discs > vertebrae.len() {
        flags.push(Flag::DiscCountMismatch);
    }
    if (0..vertebrae.len()).any(|n| too_large(vertebrae, n)) {
        flags.push(Flag::BodyTooLarge);
    }
    if cut_at_the_sides(semantic, slice_axis) {
        flags.push(Flag::LaterallyTruncated);
    }
    flags
}

/// Whether body `n` is far larger than the two above and the two below it. Cut bodies are no measure.
fn too_large(vertebrae: &[Vertebra], n: usize) -> bool {
    let near = n.saturating_sub(2)..(n + 3).min(vertebrae.len());
    let whole = near.filter(|&other| other != n && !vertebrae[other].truncated);
    let mut sizes: Vec<f64> = whole.map(|other| vertebrae[other].body_ml).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.get(sizes.len() / 2).is_some_and(|median| vertebrae[n].body_ml > TOO_LARGE * median)
}

fn cut_at_the_sides(semantic: &Volume<u8>, slice_axis: usize) -> bool {
    let dims = semantic.dims();
    let last = dims.counts()[slice_axis] - 1;
    let (mut spine, mut outermost) = (0usize, 0usize);
    for (offset, &value) in semantic.voxels().iter().enumerate() {
        if value == Structure::VertebralBody.value() {
            spine += 1;
            let slice = dims.index(offset)[slice_axis];
            outermost += usize::from(slice == 0 || slice == last);
        }
    }
    outermost as f64 > CUT_SHARE * spine as f64
}
