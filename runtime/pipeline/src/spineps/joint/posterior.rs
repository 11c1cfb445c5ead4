//! Pieces of arch and spinous process that lie with another vertebra than the one that owns them.

use crate::labels::Structure;
use crate::spineps::pieces::Pieces;
use crate::spineps::rows;
use kernels::Volume;
use kernels::components::{Bounds, Connectivity};

/// The largest pieces of a vertebra that are looked at; smaller ones are crumbs.
const LOOKED_AT: usize = 3;
/// Ids above are no vertebrae.
const LAST_VERTEBRA: u8 = 25;

/// Moves the second and third piece (26 neighbours) of a vertebra, if they are arch and spinous process only and the box
/// around them, one voxel wider, holds exactly one other id. All are judged by the ids at the start.
pub fn settle(vertebrae: &mut Volume<u8>, semantic: &Volume<u8>) {
    let mut moves: Vec<(usize, u8)> = Vec::new();
    let dims = vertebrae.dims();
    for (id, bounds) in boxes(vertebrae) {
        let own = |v| u8::from(v == id);
        let pieces = Pieces::within(vertebrae, own, Connectivity::Corners26, bounds);
        if pieces.count() < 2 {
            continue;
        }
        let mut order = pieces.scanned();
        order.sort_by_key(|&n| std::cmp::Reverse(pieces.piece(n).voxels));
        for &n in order.iter().take(LOOKED_AT).skip(1) {
            let posterior = pieces.voxels(n).all(|at| is_posterior(semantic.at(at)));
            let other = posterior.then(|| other_id(vertebrae, &pieces, n)).flatten();
            let Some(other) = other.filter(|&other| other != id) else { continue };
            moves.extend(pieces.voxels(n).map(|at| (dims.offset(at), other)));
        }
    }
    moves.into_iter().for_each(|(at, other)| vertebrae.voxels_mut()[at] = other);
}

fn is_posterior(value: u8) -> bool {
    [0, Structure::VertebralArch.value(), Structure::SpinousProcess.value()].contains(&value)
}

/// The one id besides piece `n` in the box around it, its own vertebra's included.
fn other_id(vertebrae: &Volume<u8>, pieces: &Pieces, n: usize) -> Option<u8> {
    let Bounds { min, max } = pieces.bounds(n).grown(1, vertebrae.dims());
    let mut counts = [0usize; 256];
    for k in min[2]..=max[2] {
        for j in min[1]..=max[1] {
            let start = vertebrae.dims().offset([min[0], j, k]);
            let row = &vertebrae.voxels()[start..=start + max[0] - min[0]];
            row.iter().for_each(|&id| counts[usize::from(id)] += 1);
        }
    }
    pieces.voxels(n).for_each(|at| counts[usize::from(vertebrae.at(at))] -= 1);
    let mut others = (1..=255u8).filter(|&id| counts[usize::from(id)] > 0);
    others.next().filter(|_| others.next().is_none())
}

/// The box around each vertebra, by ascending id.
fn boxes(vertebrae: &Volume<u8>) -> Vec<(u8, Bounds)> {
    let mut boxes: [Option<Bounds>; LAST_VERTEBRA as usize + 1] =
        [None; LAST_VERTEBRA as usize + 1];
    for (start, block) in rows::blocks(vertebrae) {
        let [first, j, k] = vertebrae.dims().index(start);
        for (n, &id) in block.iter().enumerate().filter(|&(_, &id)| id != 0) {
            let Some(known) = boxes.get_mut(usize::from(id)) else { continue };
            let at = [first + n, j, k];
            let known = known.get_or_insert(Bounds { min: at, max: at });
            known.min = [known.min[0].min(at[0]), known.min[1].min(j), known.min[2]];
            known.max = [known.max[0].max(at[0]), known.max[1].max(j), k];
        }
    }
    (0..).zip(boxes).filter_map(|(id, bounds)| Some((id, bounds?))).collect()
}
