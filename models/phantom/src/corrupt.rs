//! A true semantic mask -> one with the mistakes that semantic nets make: what the instance stage must stand.
//!
//! Each mistake is a function of its own; [`corrupt`] draws which of them happen. Mistakes about anatomy come first (a disc
//! called body), then those about edges, then those of the exam (lost slices, a small field of view). Only labels change:
//! the truth of the vertebrae stays what it was.

use crate::field::Field;
use crate::random::Random;
use crate::stream;
use crate::tissue::Structure;
use kernels::Volume;
use std::collections::BTreeMap;

/// Structures behind the body that nets take for one another.
const POSTERIOR: [Structure; 8] = [
    Structure::Arch,
    Structure::Spinous,
    Structure::TransverseLeft,
    Structure::TransverseRight,
    Structure::SuperiorLeft,
    Structure::SuperiorRight,
    Structure::InferiorLeft,
    Structure::InferiorRight,
];
/// What an island of the net's imagination may be called.
const IMAGINED: [Structure; 6] = [
    Structure::Body,
    Structure::Disc,
    Structure::Arch,
    Structure::Spinous,
    Structure::TransverseLeft,
    Structure::Sacrum,
];
const NONE: u8 = Structure::None as u8;
const BODY: u8 = Structure::Body as u8;
const DISC: u8 = Structure::Disc as u8;
const ENDPLATE: u8 = Structure::Endplate as u8;
const SACRUM: u8 = Structure::Sacrum as u8;
/// Instance values of the discs and endplates of vertebra 0.
const DISC_ID: u16 = 100;
const ENDPLATE_ID: u16 = 200;
/// L5.
const LOWEST: u16 = 24;

/// `semantic` with a net's mistakes; `vertebrae` says which voxel belongs to which vertebra. Both as in
/// [`crate::Phantom`]. The same seed makes the same mistakes.
pub fn corrupt(semantic: &Volume<u8>, vertebrae: &Volume<u16>, seed: u64) -> Volume<u8> {
    let mut random = Random::stream(seed, stream::CORRUPTION);
    let mut mask = Mask::new(semantic, vertebrae);
    // From a nearly perfect mask to one that is hard to read.
    let severity = random.between(0.1, 1.0);
    mask.mistake_anatomy(severity, &mut random);
    mask.mistake_edges(severity, &mut random);
    mask.mistake_exam(severity, &mut random);
    mask.labels
}

/// The mask while mistakes are made.
struct Mask {
    labels: Volume<u8>,
    spacing: [f64; 3],
    /// Where each part of each vertebra truly lies: (structure, instance value) -> voxels.
    parts: BTreeMap<(u8, u16), Vec<usize>>,
    /// The vertebrae whose body is in view.
    bodies: Vec<u16>,
}

impl Mask {
    fn new(semantic: &Volume<u8>, vertebrae: &Volume<u16>) -> Mask {
        let mut parts: BTreeMap<(u8, u16), Vec<usize>> = BTreeMap::new();
        for (at, (&value, &id)) in semantic.voxels().iter().zip(vertebrae.voxels()).enumerate() {
            if value != NONE {
                parts.entry((value, id)).or_default().push(at);
            }
        }
        let bodies = parts.keys().filter(|(part, _)| *part == BODY).map(|&(_, id)| id).collect();
        let spacing = semantic.grid().affine.spacing();
        Mask { labels: semantic.clone(), spacing, parts, bodies }
    }

    fn mistake_anatomy(&mut self, severity: f64, random: &mut Random) {
        if random.chance(0.3 * severity) {
            self.call_endplates_body();
        }
        for id in self.bodies.clone() {
            if random.chance(0.15 * severity) {
                self.merge_with_next(id, random);
            }
            if random.chance(0.1 * severity) {
                self.lose(DISC, DISC_ID + id);
                self.lose(ENDPLATE, ENDPLATE_ID + id);
            }
            if random.chance(0.15 * severity) {
                self.hollow_body(id, random);
            }
            if random.chance(0.05 * severity) {
                self.split_body(id, random);
            }
            for part in POSTERIOR {
                if random.chance(0.08 * severity) {
                    self.lose(part as u8, id);
                }
                if random.chance(0.06 * severity) {
                    self.confuse_part(part, id, random);
                }
                if random.chance(0.1 * severity) {
                    self.confuse_spot(part, id, random);
                }
            }
        }
        if random.chance(0.2 * severity) {
            self.call_s1_body(random);
        }
        if random.chance(0.2 * severity) {
            self.call_l5_sacrum(random);
        }
    }

    fn mistake_edges(&mut self, severity: f64, random: &mut Random) {
        if random.chance(0.5 * severity) {
            self.thicken_posterior(random.count(1, 2));
        }
        if random.chance(0.3 * severity) {
            self.thin_posterior();
        }
        if random.chance(0.9) {
            self.wobble(random.between(0.3, 2.2) * severity, random);
        }
        if random.chance(0.2 * severity) {
            self.speckle(random.between(0.005, 0.03), random);
        }
        for _ in 0..(random.unit() * 5.0 * severity) as usize {
            self.imagine(random);
        }
    }

    fn mistake_exam(&mut self, severity: f64, random: &mut Random) {
        if random.chance(0.15 * severity) {
            self.coarsen(random.count(2, 3) as usize);
        }
        if random.chance(0.15 * severity) {
            self.lose_slice(random);
        }
        if random.chance(0.15 * severity) {
            self.repeat_slice(random);
        }
        if random.chance(0.25 * severity) {
            self.lose_lateral_slices(random);
        }
        if random.chance(0.3) {
            self.crop_field(random);
        }
    }

    /// Gives every voxel of a true part another value.
    fn rename(&mut self, part: (u8, u16), value: u8) {
        for &at in self.parts.get(&part).into_iter().flatten() {
            self.labels.voxels_mut()[at] = value;
        }
    }

    fn lose(&mut self, part: u8, id: u16) {
        self.rename((part, id), NONE);
    }

    fn call_endplates_body(&mut self) {
        for value in self.labels.voxels_mut() {
            if *value == ENDPLATE {
                *value = BODY;
            }
        }
    }

    /// The disc below a body is called body: all of it, or beyond a cut across slices or from front to back.
    fn merge_with_next(&mut self, id: u16, random: &mut Random) {
        let parts = [(DISC, DISC_ID + id), (ENDPLATE, ENDPLATE_ID + id)];
        let Some(disc) = self.parts.get(&parts[0]) else { return };
        let dims = self.labels.dims();
        let (axis, edge) = ([0, 2, 1][random.count(0, 2) as usize], *random.pick(disc));
        let edge = dims.index(edge)[axis];
        for part in parts {
            for &at in self.parts.get(&part).into_iter().flatten() {
                // Axis 1, from top to bottom, stands for the whole disc.
                if axis == 1 || dims.index(at)[axis] >= edge {
                    self.labels.voxels_mut()[at] = BODY;
                }
            }
        }
    }

    /// A spot within a body that is called something else: a haemangioma, a Schmorl's node, a signal void.
    fn hollow_body(&mut self, id: u16, random: &mut Random) {
        let values = [NONE, DISC, ENDPLATE, Structure::Arch as u8, SACRUM];
        let value = *random.pick(&values);
        let Some(body) = self.parts.get(&(BODY, id)) else { return };
        let (centre, radius) = (*random.pick(body), random.between(2.0, 7.0));
        self.ball(centre, radius, |old| if old == BODY { value } else { old });
    }

    /// A band across a body, as a fracture line or a degenerate endplate leaves it.
    fn split_body(&mut self, id: u16, random: &mut Random) {
        let value = *random.pick(&[NONE, DISC]);
        let Some(body) = self.parts.get(&(BODY, id)) else { return };
        let dims = self.labels.dims();
        let row = dims.index(*random.pick(body))[1];
        let rows = (random.between(1.0, 3.0) / self.spacing[1]).ceil() as usize;
        for &at in body {
            if (row..row + rows).contains(&dims.index(at)[1]) {
                self.labels.voxels_mut()[at] = value;
            }
        }
    }

    /// A whole part is taken for another kind of part.
    fn confuse_part(&mut self, part: Structure, id: u16, random: &mut Random) {
        let other = *random.pick(&POSTERIOR) as u8;
        self.rename((part as u8, id), other);
    }

    /// Around a spot, parts of every vertebra are taken for one other kind.
    fn confuse_spot(&mut self, part: Structure, id: u16, random: &mut Random) {
        let other = if random.chance(0.15) { BODY } else { *random.pick(&POSTERIOR) as u8 };
        let Some(voxels) = self.parts.get(&(part as u8, id)) else { return };
        let (centre, radius) = (*random.pick(voxels), random.between(4.0, 14.0));
        self.ball(centre, radius, |old| if is_posterior(old) { other } else { old });
    }

    /// The first sacral body is called a vertebral body, its arch a lumbar one.
    fn call_s1_body(&mut self, random: &mut Random) {
        let (Some(l5), Some(l4)) = (self.centre(LOWEST), self.centre(LOWEST - 1)) else { return };
        let reach = random.between(0.8, 1.2);
        let s1: [f64; 3] = std::array::from_fn(|axis| l5[axis] + reach * (l5[axis] - l4[axis]));
        let radius = random.between(10.0, 22.0);
        self.ball_at(s1, radius, |old| if old == SACRUM { BODY } else { old });
    }

    /// L5 is called sacrum: a corner of its body, or more.
    fn call_l5_sacrum(&mut self, random: &mut Random) {
        let Some(body) = self.parts.get(&(BODY, LOWEST)) else { return };
        let (centre, radius) = (*random.pick(body), random.between(5.0, 18.0));
        self.ball(centre, radius, |old| if is_vertebra(old) { SACRUM } else { old });
    }

    /// Arches and processes grow into what lies around them, until neighbours touch.
    fn thicken_posterior(&mut self, layers: u64) {
        for _ in 0..layers {
            self.spread(|own, neighbour| if own == NONE { neighbour } else { own }, is_posterior);
        }
    }

    /// Arches and processes lose their outermost voxels.
    fn thin_posterior(&mut self) {
        self.spread(|own, _| if is_posterior(own) { NONE } else { own }, |other| other == NONE);
    }

    /// Changes voxels that have a neighbour in their slice for which `beside` holds, all at once.
    fn spread(&mut self, change: impl Fn(u8, u8) -> u8, beside: impl Fn(u8) -> bool) {
        let old = self.labels.clone();
        let [ni, nj, _] = old.dims().counts();
        for at in 0..old.voxels().len() {
            let (i, j) = (at % ni, at / ni % nj);
            let steps =
                [(i > 0, -1), (i + 1 < ni, 1), (j > 0, -(ni as isize)), (j + 1 < nj, ni as isize)];
            let near = steps.into_iter().filter(|(inside, _)| *inside);
            let values = near.map(|(_, step)| old.voxels()[at.wrapping_add_signed(step)]);
            if let Some(neighbour) = values.into_iter().find(|&value| beside(value)) {
                self.labels.voxels_mut()[at] = change(old.voxels()[at], neighbour);
            }
        }
    }

    /// Every edge runs where a smooth random shift puts it, each slice on its own.
    fn wobble(&mut self, amplitude_mm: f64, random: &mut Random) {
        let cell = random.between(4.0, 9.0);
        let shifts = [0, 1].map(|_| Field::new(random, [cell, cell, self.spacing[2]]));
        let old = self.labels.clone();
        let (dims, spacing) = (old.dims(), self.spacing);
        let [ni, nj, _] = dims.counts();
        for (at, value) in self.labels.voxels_mut().iter_mut().enumerate() {
            let [i, j, k] = dims.index(at);
            let point = [0, 1, 2].map(|axis| [i, j, k][axis] as f64 * spacing[axis]);
            let moved = |n: usize, count: usize, axis: usize| {
                let steps = amplitude_mm * shifts[axis].at(point) / spacing[axis];
                (n as f64 + steps).round().clamp(0.0, (count - 1) as f64) as usize
            };
            *value = old.at([moved(i, ni, 0), moved(j, nj, 1), k]);
        }
    }

    /// Single voxels are lost.
    fn speckle(&mut self, share: f64, random: &mut Random) {
        for value in self.labels.voxels_mut().iter_mut().filter(|value| **value != NONE) {
            if random.chance(share) {
                *value = NONE;
            }
        }
    }

    /// An island of some structure anywhere in the field of view.
    fn imagine(&mut self, random: &mut Random) {
        let value = *random.pick(&IMAGINED) as u8;
        let centre = random.count(0, self.labels.voxels().len() as u64 - 1) as usize;
        let radius = random.between(2.0, 10.0);
        self.ball(centre, radius, |old| if old == NONE { value } else { old });
    }

    /// Blocks of voxels take the value of their first one: an exam of low resolution.
    fn coarsen(&mut self, block: usize) {
        let old = self.labels.clone();
        let dims = old.dims();
        for (at, value) in self.labels.voxels_mut().iter_mut().enumerate() {
            let [i, j, k] = dims.index(at);
            *value = old.at([i / block * block, j / block * block, k]);
        }
    }

    fn lose_slice(&mut self, random: &mut Random) {
        let slice = random.count(0, self.slices() as u64 - 1) as usize;
        self.erase(|[_, _, k]| k == slice);
    }

    /// A slice that looks like the one before it: the patient moved.
    fn repeat_slice(&mut self, random: &mut Random) {
        let (slice, plane) =
            (random.count(0, self.slices() as u64 - 1) as usize, self.labels.dims().plane());
        if let Some(before) = slice.checked_sub(1) {
            self.labels.voxels_mut().copy_within(before * plane..slice * plane, slice * plane);
        }
    }

    fn lose_lateral_slices(&mut self, random: &mut Random) {
        let most = self.slices() as f64 * 0.3;
        let [left, right] = [0, 1].map(|_| (random.unit() * most) as usize);
        let end = self.slices() - right;
        self.erase(|[_, _, k]| k < left || k >= end);
    }

    /// Less above, below or behind.
    fn crop_field(&mut self, random: &mut Random) {
        let [columns, rows, _] = self.labels.dims().counts().map(|n| n as f64);
        let top = (random.between(-0.2, 0.3) * rows).max(0.0) as usize;
        let bottom = ((1.0 - random.between(-0.2, 0.3)) * rows) as usize;
        let back = ((1.0 - random.between(-0.3, 0.4)) * columns) as usize;
        self.erase(|[i, j, _]| j < top || j >= bottom || i >= back);
    }

    fn slices(&self) -> usize {
        self.labels.dims().counts()[2]
    }

    fn erase(&mut self, wanted: impl Fn([usize; 3]) -> bool) {
        let dims = self.labels.dims();
        for (at, value) in self.labels.voxels_mut().iter_mut().enumerate() {
            if wanted(dims.index(at)) {
                *value = NONE;
            }
        }
    }

    /// Centre of a body, voxels.
    fn centre(&self, id: u16) -> Option<[f64; 3]> {
        let body = self.parts.get(&(BODY, id))?;
        let sum = body.iter().fold([0.0; 3], |sum: [f64; 3], &at| {
            let index = self.labels.dims().index(at);
            std::array::from_fn(|axis| sum[axis] + index[axis] as f64)
        });
        Some(sum.map(|sum| sum / body.len() as f64))
    }

    fn ball(&mut self, centre: usize, radius_mm: f64, change: impl Fn(u8) -> u8) {
        let centre = self.labels.dims().index(centre).map(|n| n as f64);
        self.ball_at(centre, radius_mm, change);
    }

    /// Changes the voxels within `radius_mm` of `centre` (voxels).
    fn ball_at(&mut self, centre: [f64; 3], radius_mm: f64, change: impl Fn(u8) -> u8) {
        let (dims, spacing) = (self.labels.dims(), self.spacing);
        let range = |axis: usize| {
            let reach = radius_mm / spacing[axis];
            let first = (centre[axis] - reach).max(0.0) as usize;
            first..((centre[axis] + reach).max(0.0) as usize + 1).min(dims.counts()[axis])
        };
        for k in range(2) {
            for j in range(1) {
                for i in range(0) {
                    let off = |axis: usize| ([i, j, k][axis] as f64 - centre[axis]) * spacing[axis];
                    if off(0) * off(0) + off(1) * off(1) + off(2) * off(2) <= radius_mm * radius_mm
                    {
                        let value = &mut self.labels.voxels_mut()[dims.offset([i, j, k])];
                        *value = change(*value);
                    }
                }
            }
        }
    }
}

fn is_posterior(value: u8) -> bool {
    (Structure::Arch as u8..BODY).contains(&value)
}

fn is_vertebra(value: u8) -> bool {
    is_posterior(value) || value == BODY || value == ENDPLATE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recipe, Region, generate};

    fn patient() -> (Volume<u8>, Volume<u16>) {
        let small = Recipe {
            columns: 110,
            rows: 130,
            slices: 9,
            in_plane_mm: 2.4,
            slice_mm: 6.0,
            ..Recipe::of(Region::Lumbar, 3)
        };
        let phantom = generate(&small).unwrap();
        (phantom.semantic, phantom.vertebrae)
    }

    #[test]
    fn a_seed_makes_the_same_mistakes_and_another_seed_others() {
        let (semantic, vertebrae) = patient();
        let made = [7, 7, 8].map(|seed| corrupt(&semantic, &vertebrae, seed));
        assert_eq!(made[0], made[1]);
        assert_ne!(made[0], made[2]);
        assert_ne!(made[0], semantic);
    }

    #[test]
    fn a_merged_pair_has_body_where_its_disc_was() {
        let (semantic, vertebrae) = patient();
        let mut whole = 0;
        for seed in 0..20 {
            let mut mask = Mask::new(&semantic, &vertebrae);
            mask.merge_with_next(22, &mut Random::stream(seed, 0));
            let disc = &mask.parts[&(DISC, 122)];
            let merged = disc.iter().filter(|&&at| mask.labels.voxels()[at] == BODY).count();
            assert!(merged > 0);
            whole += usize::from(merged == disc.len());
        }
        assert!((1..20).contains(&whole), "{whole} whole discs");
    }

    #[test]
    fn edges_move_but_little() {
        let (semantic, vertebrae) = patient();
        let mut mask = Mask::new(&semantic, &vertebrae);
        mask.wobble(1.5, &mut Random::stream(1, 0));
        let pairs = || mask.labels.voxels().iter().zip(semantic.voxels());
        let changed = pairs().filter(|(a, b)| a != b).count() as f64;
        let spine = semantic.voxels().iter().filter(|&&value| value != NONE).count() as f64;
        assert!((0.02..0.6).contains(&(changed / spine)), "{}", changed / spine);
    }
}
