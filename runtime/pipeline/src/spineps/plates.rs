//! Endplates -> upper and lower plates of their vertebrae.
//!
//! An endplate carries the id of its disc, that is of the vertebra above. Vertebrae grow towards the plates step by step;
//! what the vertebra above reaches first is its lower plate, what the one below reaches its upper plate.

use super::between::present;
use crate::labels::{Structure, VertebraId};
use crate::spineps::Rules;
use crate::spineps::values::{INFERIOR_PLATE, SUPERIOR_PLATE, above};
use kernels::Volume;
use kernels::components::{Bounds, Connectivity, crop, paste};
use kernels::growth::grow;
use kernels::morphology::Element;

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
    let Some(bounds) = Bounds::of(semantic, |v| v == endplate) else { return plates };
    let steps = steps(semantic.grid().affine.spacing(), rules);
    let around = bounds.grown(steps.into_iter().max().unwrap_or(0), semantic.dims());
    let sides = Sides::new(vertebrae, rules);
    let (ids, values) = (crop(vertebrae, around), crop(semantic, around));
    let mut owners = ids.map(|id| sides.turn(id));
    let inside = inside(&values, rules);
    let mut pending: Vec<usize> =
        (0..values.voxels().len()).filter(|&at| values.voxels()[at] == endplate).collect();
    let mut result = values.map(|v| if v == endplate { endplate } else { 0 });
    let (mut ever, mut step) = (0, 0);
    while !pending.is_empty() && steps.iter().any(|&steps| step < steps) {
        let along = steps.map(|steps| step < steps);
        let element = Element { connectivity: Connectivity::Corners26, along };
        owners = grow(&owners, &inside, element);
        let mut told = 0;
        pending.retain(|&at| {
            let turn = owners.voxels()[at];
            if turn == 0 {
                return true;
            }
            let plate = sides.plate(turn, ids.voxels()[at], step);
            told += usize::from(plate == INFERIOR_PLATE || plate == SUPERIOR_PLATE);
            result.voxels_mut()[at] = plate;
            false
        });
        ever += told;
        // SPINEPS ends at the first step that tells nothing, once one did.
        if rules == Rules::Spineps213 && told == 0 && ever > 0 {
            break;
        }
        step += 1;
    }
    paste(&mut plates, &result, around);
    plates
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
