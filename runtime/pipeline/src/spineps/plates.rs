//! Endplates -> upper and lower plates of their vertebrae.
//!
//! An endplate carries the id of its disc, that is of the vertebra above. Vertebrae grow towards the plates step by step;
//! what the vertebra above reaches first is its lower plate, what the one below reaches its upper plate.

use super::between::present;
use crate::labels::{Structure, VertebraId};
use crate::spineps::Rules;
use crate::spineps::pieces::Pieces;
use crate::spineps::values::{INFERIOR_PLATE, SUPERIOR_PLATE, above};
use kernels::Volume;
use kernels::components::{Connectivity, crop};
use kernels::growth::grow;
use kernels::morphology::Element;
use kernels::threads::{available, parallel_map};

/// Steps of SPINEPS' growth, voxels whatever their size.
const STEPS: usize = 14;
/// How far ours grows: an endplate lies next to its body and is thinner than this, a slice's obliqueness included.
const REACH_MM: f64 = 6.0;

/// The upper (52) and lower (53) plates among the endplates of `semantic`; 62 where nobody can tell, 0 elsewhere.
///
/// SPINEPS erases a plate that a third vertebra reaches first, and takes the order of ids for the order of vertebrae, so
/// that the plates beside T13 (28) go. Ours knows the order, leaves such plates as they are, and no vertebra reaches through
/// a disc.
pub fn split(vertebrae: &Volume<u8>, semantic: &Volume<u8>, rules: Rules) -> Volume<u8> {
    let endplate = Structure::Endplate.value();
    let mut plates = Volume::filled(*semantic.grid(), 0);
    let sides = Sides::new(vertebrae, rules);
    let own = |v| u8::from(v == endplate);
    let Some(pieces) = Pieces::of(semantic, own, Connectivity::Corners26) else { return plates };
    let masks = Masks { vertebrae, semantic, sides: &sides };
    let all: Vec<usize> = (0..pieces.count()).collect();
    let told = parallel_map(available(), &all, |&n| masks.reached(&pieces, n)).concat();
    for n in all {
        for at in pieces.voxels(n) {
            let at = semantic.dims().offset(at);
            plates.voxels_mut()[at] = endplate;
        }
    }
    let last = sides.last_step(&told);
    for (_, at, plate) in told.into_iter().filter(|&(step, ..)| step <= last) {
        plates.voxels_mut()[at] = plate;
    }
    plates
}

/// Room around a plate within which its vertebra is sought first: most touch it.
const NEAR: usize = 4;

/// What the plates are found in.
struct Masks<'a> {
    vertebrae: &'a Volume<u8>,
    semantic: &'a Volume<u8>,
    sides: &'a Sides,
}

impl Masks<'_> {
    /// What the vertebrae reach of piece `n`: step, place in memory and plate of each voxel. Near vertebrae are sought in a
    /// small box; only where some voxel stays alone, in one as large as the growth.
    fn reached(&self, pieces: &Pieces, n: usize) -> Vec<(usize, usize, u8)> {
        let steps = steps(self.semantic.grid().affine.spacing(), self.sides.rules);
        let most = steps.into_iter().max().unwrap_or(0);
        let near = self.reached_within(pieces, n, steps.map(|steps| steps.min(NEAR)));
        if near.len() == pieces.piece(n).voxels || most <= NEAR {
            return near;
        }
        self.reached_within(pieces, n, steps)
    }

    fn reached_within(
        &self,
        pieces: &Pieces,
        n: usize,
        steps: [usize; 3],
    ) -> Vec<(usize, usize, u8)> {
        let most = steps.into_iter().max().unwrap_or(0);
        let dims = self.semantic.dims();
        let around = pieces.bounds(n).grown(most, dims);
        let mut owners = crop(self.vertebrae, around).map(|id| self.sides.turn(id));
        let inside = inside(&crop(self.semantic, around), self.sides.rules);
        let place = |at: [usize; 3]| std::array::from_fn(|axis| at[axis] - around.min[axis]);
        let voxels = pieces.voxels(n);
        let mut pending: Vec<(usize, usize)> =
            voxels.map(|at| (owners.dims().offset(place(at)), dims.offset(at))).collect();
        let mut told = Vec::with_capacity(pending.len());
        for step in 0..most {
            if pending.is_empty() {
                break;
            }
            let along = steps.map(|steps| step < steps);
            let element = Element { connectivity: Connectivity::Corners26, along };
            owners = grow(&owners, &inside, element);
            pending.retain(|&(here, at)| {
                let turn = owners.voxels()[here];
                if turn != 0 {
                    let value = self.vertebrae.voxels()[at];
                    told.push((step, at, self.sides.plate(turn, value, step)));
                }
                turn == 0
            });
        }
        told
    }
}

/// Steps of the growth along each axis.
fn steps(spacing: [f64; 3], rules: Rules) -> [usize; 3] {
    match rules {
        Rules::Spineps213 => [STEPS; 3],
        Rules::Sagitta => spacing.map(|mm| (REACH_MM / mm).round().max(1.0) as usize),
    }
}

/// Where vertebrae may grow: 1, else 0.
fn inside(semantic: &Volume<u8>, rules: Rules) -> Volume<u8> {
    let closed = [Structure::Disc, Structure::SpinalCanal, Structure::SpinalCord];
    let closed = closed.map(Structure::value);
    semantic.map(|v| u8::from(rules == Rules::Spineps213 || !closed.contains(&v)))
}

/// The vertebrae in the order in which they grow: their turns are 1, 2, ...
struct Sides {
    order: Vec<u8>,
    turns: [u8; 256],
    rules: Rules,
}

impl Sides {
    fn new(vertebrae: &Volume<u8>, rules: Rules) -> Sides {
        let order = present(vertebrae, rules);
        let mut turns = [0; 256];
        order.iter().zip(1..).for_each(|(&id, turn)| turns[usize::from(id)] = turn);
        Sides { order, turns, rules }
    }

    fn turn(&self, id: u8) -> u8 {
        self.turns[usize::from(id)]
    }

    /// The last step that counts. SPINEPS ends at the first that tells no upper or lower plate, once one did.
    fn last_step(&self, told: &[(usize, usize, u8)]) -> usize {
        let mut counts = [0usize; STEPS];
        if self.rules == Rules::Sagitta {
            return usize::MAX;
        }
        let sided = |plate: u8| plate == INFERIOR_PLATE || plate == SUPERIOR_PLATE;
        told.iter().filter(|told| sided(told.2)).for_each(|&(step, ..)| counts[step] += 1);
        let first = counts.iter().position(|&count| count > 0).unwrap_or(STEPS);
        let idle = counts.iter().skip(first).position(|&count| count == 0);
        idle.map_or(STEPS, |idle| first + idle)
    }

    /// What a plate with instance value `value` is to the vertebra whose `turn` reached it in `step`.
    fn plate(&self, turn: u8, value: u8, step: usize) -> u8 {
        let endplate = Structure::Endplate.value();
        if value == 0 {
            return endplate;
        }
        let of = |id: u8| u16::from(value) == u16::from(id) + VertebraId::ENDPLATE_OFFSET;
        let own = self.order[usize::from(turn) - 1];
        let over = match (usize::from(turn).checked_sub(2), self.rules) {
            (Some(before), _) => self.order[before],
            (None, Rules::Sagitta) => above(own, &self.order),
            // SPINEPS: before the first comes 1 in the first step, and the last in all others.
            (None, Rules::Spineps213) if step == 0 => 1,
            (None, Rules::Spineps213) => self.order.last().copied().unwrap_or(1),
        };
        match self.rules {
            _ if of(over) => SUPERIOR_PLATE,
            _ if of(own) => INFERIOR_PLATE,
            Rules::Spineps213 => 0,
            Rules::Sagitta => endplate,
        }
    }
}
