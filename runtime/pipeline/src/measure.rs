//! Numbers and warnings from the finished masks.
//!
//! `outline` takes the surfaces out of the masks, `geometry` fits endplates to them; then one module per subject. A
//! [`Measured`] number has a unit, a definition in its doc comment and a confidence; or a reason why there is none.
//! Nothing here is a diagnosis.

mod alignment;
mod bodies;
mod canal;
mod curvature;
mod discs;
mod geometry;
mod lines;
mod outline;
mod quality;
mod value;

pub use alignment::Alignment;
pub use bodies::{BodyMeasures, Compression};
pub use canal::CanalMeasures;
pub use curvature::Curvature;
pub use discs::DiscMeasures;
pub use lines::{Extent, MeasuredLine};
pub use quality::{Doubt, Grade, Quality, VertebraQuality};
pub use value::{
    Degrees, Measured, Millilitres, Millimetres, Ratio, Reason, SquareMillimetres, Unit,
};

use crate::labels::{Structure, VertebraId};
use crate::measure::alignment::{Corner, Side};
use crate::measure::canal::Canal;
use crate::measure::geometry::{Axes, Slab};
use crate::measure::outline::{Outline, Outlines};
use crate::measure::quality::Sides;
use crate::result::{Flag, Numbering, Support, Vertebra};
use kernels::components::{self, Bounds};
use kernels::volume::{PIR, norm, scale, sub};
use kernels::{AxisMap, Volume};
use serde::Serialize;

/// A body more than this many times the median of its neighbours is suspected to be two.
const TOO_LARGE: f64 = 2.0;
/// A step from body to body more than this many times the median of its neighbours may pass over one: steps grow by a tenth
/// from level to level, and a body left out doubles one.
const INTERRUPTED: f64 = 1.6;
/// Corners of neighbours are nearer than this: a disc and a slip. Further, a body was missed between them (C5 with its two
/// discs has 23 mm).
const MAX_STEP_MM: f64 = 20.0;
/// Share of the spine's voxels in the outermost slices from which the spine counts as cut there.
const CUT_SHARE: f64 = 0.02;

/// Everything measured of one vertebra, and of the disc and the step below it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VertebraMeasures {
    pub id: VertebraId,
    pub body: BodyMeasures,
    /// The disc below.
    pub disc: DiscMeasures,
    /// How it stands on the next body, or on the sacrum.
    pub alignment: Alignment,
    /// The canal behind the middle of the body.
    pub canal_at_body: CanalMeasures,
    /// The canal behind the disc below.
    pub canal_at_disc: CanalMeasures,
    pub quality: VertebraQuality,
}

/// Everything measured of one series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurements {
    /// Top to bottom, one for each vertebra of the result.
    pub vertebrae: Vec<VertebraMeasures>,
    pub curvature: Curvature,
    pub quality: Quality,
    /// Where heights were read, for viewers; the numbers themselves are above.
    #[serde(skip)]
    pub lines: Vec<MeasuredLine>,
}

/// Measures the finished masks. `found` are the vertebrae of the result, `flags` what is known to be wrong with it, and
/// `confidence` the net's own.
pub fn measurements(
    semantic: &Volume<u8>,
    instances: &Volume<u16>,
    found: &[Vertebra],
    numbering: Numbering,
    (flags, confidence): (&[Flag], f32),
) -> Measurements {
    let (semantic, instances) = labelled(semantic, instances);
    let ids: Vec<VertebraId> = found.iter().map(|vertebra| vertebra.id).collect();
    let spine = Spine::new(&semantic, &instances, &ids);
    let canal = Canal::new(&semantic);
    let quality = quality::vertebrae(found, &sides(&semantic, &instances, &ids));
    let voxel_ml = semantic.grid().affine.spacing().iter().product::<f64>() / 1000.0;
    let mut bodies: Vec<BodyMeasures> = (0..ids.len())
        .map(|n| bodies::body(&spine.outlines.bodies[n], spine.bodies[n], voxel_ml))
        .collect();
    bodies::compare(&mut bodies);
    let each = ids.iter().enumerate().zip(bodies.into_iter().zip(quality));
    let vertebrae: Vec<VertebraMeasures> = each
        .map(|((n, &id), (body, quality))| VertebraMeasures {
            id,
            body,
            disc: spine.disc(n),
            alignment: spine.alignment(n),
            canal_at_body: canal.across(level(&spine.bodies[n])),
            canal_at_disc: canal.across(level(&spine.discs[n])),
            quality,
        })
        .collect();
    let plates: Vec<_> =
        spine.bodies.iter().map(|slab| slab.map(|slab| [slab.top, slab.bottom])).collect();
    let sacral = spine.sacral_endplate().map(|slab| slab.top);
    let parts = |n: usize| {
        let Spine { outlines, bodies, discs, .. } = &spine;
        ((&outlines.bodies[n], bodies[n]), (&outlines.discs[n], discs[n]))
    };
    let lines = ids.iter().enumerate().flat_map(|(n, &id)| {
        let (body, disc) = parts(n);
        lines::lines(id, body, disc)
    });
    Measurements {
        lines: lines.collect(),
        curvature: curvature::curvature(&ids, &plates, sacral, &spine.axes, numbering),
        quality: quality::series(&vertebrae, flags, confidence),
        vertebrae,
    }
}

/// The masks where anything is labelled, in (P, I, R). One voxel of background stays around it unless the field ends there,
/// so what touches an edge still does.
fn labelled(semantic: &Volume<u8>, instances: &Volume<u16>) -> (Volume<u8>, Volume<u16>) {
    let map = AxisMap::towards(&semantic.grid().affine, PIR);
    let Some(bounds) = Bounds::of(semantic, |value| value != 0) else {
        return (semantic.reoriented(&map), instances.reoriented(&map));
    };
    let bounds = bounds.grown(1, semantic.dims());
    let part = (components::crop(semantic, bounds), components::crop(instances, bounds));
    (part.0.reoriented(&map), part.1.reoriented(&map))
}

/// The middle of a body or disc and its direction.
fn level(slab: &Result<Slab, Reason>) -> Result<([f64; 3], [f64; 3]), Reason> {
    slab.map(|slab| (slab.frame.centre, slab.frame.up))
}

/// All surfaces of a result with what was fitted to them.
struct Spine {
    outlines: Outlines,
    axes: Axes,
    bodies: Vec<Result<Slab, Reason>>,
    /// The disc below each body.
    discs: Vec<Result<Slab, Reason>>,
}

impl Spine {
    /// Of masks on a (P, I, R) grid.
    fn new(semantic: &Volume<u8>, instances: &Volume<u16>, ids: &[VertebraId]) -> Spine {
        let affine = semantic.grid().affine;
        let spacing = affine.spacing();
        let [back, down, right] = affine.axes();
        let axes = Axes {
            back: scale(back, 1.0 / spacing[0]),
            up: scale(down, -1.0 / spacing[1]),
            left: scale(right, -1.0 / spacing[2]),
        };
        let outlines = outline::outlines(semantic, instances, ids);
        let fit = |outline: &Outline, above: Option<[f64; 3]>, below: Option<[f64; 3]>| {
            // The line from what lies below to what lies above; one of the two may be the part itself.
            let own = outline.centre();
            let line = above.or(own).zip(below.or(own)).map(|(above, below)| sub(above, below));
            let up = line.filter(|line| norm(*line) > 1.0).unwrap_or(axes.up);
            geometry::slab(outline, up, &axes, spacing[2])
        };
        let discs = |n: usize| outlines.discs.get(n).and_then(Outline::centre);
        let centre = |n: usize| outlines.bodies.get(n).and_then(Outline::centre);
        let bodies: Vec<_> = (0..ids.len())
            .map(|n| fit(&outlines.bodies[n], n.checked_sub(1).and_then(discs), discs(n)))
            .collect();
        let between: Vec<_> = (0..ids.len())
            .map(|n| {
                let below = centre(n + 1);
                fit(&outlines.discs[n], centre(n), below)
            })
            .collect();
        Spine { outlines, axes, bodies, discs: between }
    }

    /// The slab whose top is the upper endplate of S1: it is the lower border of the lowest disc.
    fn sacral_endplate(&self) -> Result<Slab, Reason> {
        if self.outlines.sacrum.voxels == 0 {
            return Err(Reason::LevelNotInView);
        }
        let disc = self.discs.last().copied().unwrap_or(Err(Reason::NoDisc))?;
        Ok(Slab { top: disc.bottom, ..disc })
    }

    /// The slab and outline below vertebra `n`, down to the sacrum.
    fn below(&self, n: usize) -> Result<(&Outline, Slab), Reason> {
        if n + 1 == self.bodies.len() {
            return match self.sacral_endplate() {
                Err(Reason::LevelNotInView) => Err(Reason::NeighbourMissing),
                slab => slab.map(|slab| (&self.outlines.sacrum, slab)),
            };
        }
        let slab = *self.bodies.get(n + 1).ok_or(Reason::NeighbourMissing)?;
        slab.map(|slab| (&self.outlines.bodies[n + 1], slab))
    }

    /// The posterior corners on both sides of the disc below vertebra `n`.
    fn corners(&self, n: usize) -> [Result<Corner, Reason>; 2] {
        let upper = self.bodies[n]
            .and_then(|slab| alignment::corner(&self.outlines.bodies[n], &slab, Side::Lower));
        let lower = self
            .below(n)
            .and_then(|(outline, slab)| alignment::corner(outline, &slab, Side::Upper));
        match (upper, lower) {
            (Ok(above), Ok(below)) if norm(sub(above.point, below.point)) > MAX_STEP_MM => {
                [upper, Err(Reason::NeighbourMissing)]
            }
            _ => [upper, lower],
        }
    }

    fn disc(&self, n: usize) -> DiscMeasures {
        discs::disc(&self.outlines.discs[n], self.discs[n], self.corners(n))
    }

    fn alignment(&self, n: usize) -> Alignment {
        let [upper, lower] = self.corners(n);
        let endplate = self.below(n).map(|(_, slab)| (slab.top, slab.frame.left));
        alignment::alignment(upper, lower, endplate)
    }
}

/// Voxels of the left and right processes of every vertebra.
fn sides(semantic: &Volume<u8>, instances: &Volume<u16>, ids: &[VertebraId]) -> Vec<Sides> {
    use Structure::{
        InferiorArticularLeft, InferiorArticularRight, SuperiorArticularLeft,
        SuperiorArticularRight, TransverseProcessLeft, TransverseProcessRight,
    };
    let mut by_value = [Sides::default(); 256];
    for (&structure, &instance) in semantic.voxels().iter().zip(instances.voxels()) {
        let Some(sides) = by_value.get_mut(usize::from(instance)).filter(|_| structure != 0) else {
            continue;
        };
        match Structure::from_value(structure) {
            Some(TransverseProcessLeft | SuperiorArticularLeft | InferiorArticularLeft) => {
                sides.left += 1;
            }
            Some(TransverseProcessRight | SuperiorArticularRight | InferiorArticularRight) => {
                sides.right += 1;
            }
            _ => {}
        }
    }
    ids.iter().map(|id| by_value[usize::from(id.value())]).collect()
}

/// One [`Vertebra`] per id, from the masks on the source grid, with the `support` of each, where there is one.
pub fn vertebrae(
    semantic: &Volume<u8>,
    instances: &Volume<u16>,
    ids: &[VertebraId],
    support: &[Support],
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
        .enumerate()
        .filter(|(_, (_, (_, voxels, _)))| *voxels > 0.0)
        .map(|(n, (&id, (sum, voxels, truncated)))| {
            let centre = sum.map(|s| s / voxels);
            Vertebra {
                id,
                body_centroid_index: centre,
                body_centroid_mm: affine.world(centre),
                body_ml: voxels * voxel_ml,
                truncated,
                support: support.get(n).copied(),
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
    if !numbering.is_verified() {
        flags.push(Flag::LevelUnverified);
    }
    let between = vertebrae.len().saturating_sub(1);
    if discs < between || discs > vertebrae.len() {
        flags.push(Flag::DiscCountMismatch);
    }
    if (0..vertebrae.len()).any(|n| too_large(vertebrae, n)) {
        flags.push(Flag::BodyTooLarge);
    }
    if row_interrupted(vertebrae) {
        flags.push(Flag::RowInterrupted);
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

/// Whether two neighbouring bodies are far apart for their part of the spine: the step between them against the median of
/// the two above and the two below it. Cut bodies have their centres elsewhere.
fn row_interrupted(vertebrae: &[Vertebra]) -> bool {
    let step = |pair: &[Vertebra]| {
        let whole = !pair[0].truncated && !pair[1].truncated;
        whole.then(|| norm(sub(pair[1].body_centroid_mm, pair[0].body_centroid_mm)))
    };
    let steps: Vec<Option<f64>> = vertebrae.windows(2).map(step).collect();
    (0..steps.len()).any(|n| {
        let near = n.saturating_sub(2)..(n + 3).min(steps.len());
        let mut others: Vec<f64> = near.filter(|&m| m != n).filter_map(|m| steps[m]).collect();
        others.sort_by(f64::total_cmp);
        let median = others.get(others.len() / 2);
        steps[n].zip(median).is_some_and(|(step, median)| step > INTERRUPTED * median)
    })
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
