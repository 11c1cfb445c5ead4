//! Parts of vertebrae that no vertebra owns: they go to the neighbour, or away.

use crate::spineps::Rules;
use crate::spineps::pieces::Pieces;
use crate::spineps::rows;
use crate::spineps::values::is_vertebral;
use kernels::components::{Bounds, Connectivity, crop, paste};
use kernels::growth::grow;
use kernels::morphology::Element;
use kernels::{Dims, Volume};

/// Steps of the first growth, voxels whatever their size (SPINEPS).
const STEPS: usize = 2;
/// The same where SPINEPS chose it: two voxels of its nets' 0.75 mm.
const REACH_MM: f64 = 1.5;

/// Gives every voxel of a vertebra an owner, or erases it from `semantic`; what is no vertebra loses its owner.
///
/// Owners first grow a little; each piece (18 neighbours) still without one goes to the most frequent owner around it, of
/// equal ones the smallest id. Pieces are taken in SPINEPS' order, because one can become the neighbour of the next.
pub fn cover(vertebrae: &mut Volume<u8>, semantic: &mut Volume<u8>, rules: Rules) {
    // The smallest id, one less, so that none counts as 255.
    let least = vertebrae.voxels().iter().fold(u8::MAX, |least, v| least.min(v.wrapping_sub(1)));
    let part = rest(vertebrae, semantic).map(|rest| {
        // As far as owners can come from: the steps of the growth, and one more for the neighbours of a piece.
        let bounds = rest.grown(room(semantic.grid().affine.spacing(), rules), semantic.dims());
        (bounds, crop(vertebrae, bounds))
    });
    mask(vertebrae, semantic, |_| false);
    let Some((bounds, mut owners)) = part else { return };
    let values = crop(semantic, bounds);
    let inside = values.map(|v| u8::from(is_vertebral(v)));
    // SPINEPS cuts to the vertebrae while it grows the smallest id: that one grows from what lies outside, too.
    let keeps = |owner: u8| rules == Rules::Spineps213 && owner.wrapping_sub(1) == least;
    mask(&mut owners, &values, keeps);
    for step in 0.. {
        let Some(element) = element(step, semantic.grid().affine.spacing(), rules) else { break };
        owners = grow(&owners, &inside, element);
        mask(&mut owners, &values, |_| false);
    }
    mask(&mut owners, &values, |_| false);
    let mut rest = inside;
    rest.voxels_mut().iter_mut().zip(owners.voxels()).for_each(|(rest, &owner)| {
        if owner != 0 {
            *rest = 0;
        }
    });
    if let Some(pieces) = Pieces::of(&rest, |v| v, Connectivity::Edges18) {
        for n in pieces.scanned() {
            let owner = owner_around(&pieces, n, &owners);
            for at in pieces.voxels(n) {
                match owner {
                    Some(owner) => {
                        let offset = owners.dims().offset(at);
                        owners.voxels_mut()[offset] = owner;
                    }
                    None => {
                        let place = std::array::from_fn(|axis| at[axis] + bounds.min[axis]);
                        let offset = semantic.dims().offset(place);
                        semantic.voxels_mut()[offset] = 0;
                    }
                }
            }
        }
    }
    paste(vertebrae, &owners, bounds);
}

/// The box around what no vertebra owns.
fn rest(vertebrae: &Volume<u8>, semantic: &Volume<u8>) -> Option<Bounds> {
    let owned = vertebrae.voxels();
    rows::bounds(semantic, |at, value| is_vertebral(value) && owned[at] == 0)
}

/// Voxels from which an owner can come, along any axis.
fn room(spacing: [f64; 3], rules: Rules) -> usize {
    (0..).take_while(|&step| element(step, spacing, rules).is_some()).count() + 1
}

/// What step `step` of the growth reaches, or none after the last.
fn element(step: usize, spacing: [f64; 3], rules: Rules) -> Option<Element> {
    let steps = match rules {
        Rules::Spineps213 => [STEPS; 3],
        Rules::Sagitta => spacing.map(|mm| (REACH_MM / mm).round() as usize),
    };
    let along = steps.map(|steps| step < steps);
    along.contains(&true).then_some(Element { connectivity: Connectivity::Faces6, along })
}

/// Takes the owner from what is no vertebra, except owners for which `keeps` holds.
fn mask(owners: &mut Volume<u8>, semantic: &Volume<u8>, keeps: impl Fn(u8) -> bool) {
    for (owner, &value) in owners.voxels_mut().iter_mut().zip(semantic.voxels()) {
        let stays = is_vertebral(value) | keeps(*owner);
        *owner = if stays { *owner } else { 0 };
    }
}

/// The most frequent owner among the voxels around piece `n`.
fn owner_around(pieces: &Pieces, n: usize, owners: &Volume<u8>) -> Option<u8> {
    let dims = owners.dims();
    let mut around: Vec<usize> = pieces.voxels(n).flat_map(|at| neighbours(at, dims)).collect();
    around.sort_unstable();
    around.dedup();
    let mut counts = [0usize; 256];
    around.iter().for_each(|&at| counts[usize::from(owners.voxels()[at])] += 1);
    let most = (1..=255u8).rev().max_by_key(|&owner| counts[usize::from(owner)])?;
    (counts[usize::from(most)] > 0).then_some(most)
}

/// The 18 neighbours inside the grid, places in memory.
fn neighbours(at: [usize; 3], dims: Dims) -> impl Iterator<Item = usize> {
    (0..27usize).filter_map(move |n| {
        let step = [n % 3, n / 3 % 3, n / 9];
        let axes = step.iter().filter(|&&s| s != 1).count();
        let there: [usize; 3] = std::array::from_fn(|a| (at[a] + step[a]).wrapping_sub(1));
        let inside = (0..3).all(|a| there[a] < dims.counts()[a]);
        (inside && axes > 0 && Connectivity::Edges18.admits(axes)).then(|| dims.offset(there))
    })
}
