//! Sizes of every level, in millimetres: straight lines between knots at a few levels of the usual chain, after the
//! usual adult morphometry tables (Panjabi et al., Spine 1991-1992, rounded).

use crate::Population;
use crate::pathology::Findings;
use crate::random::Random;
use crate::spine::{L5, S1};
use crate::variants::Plan;

/// Sizes of one level in millimetres. Depth runs front to back, width left to right.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) depth: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Height of the disc below.
    pub(crate) disc: f64,
    pub(crate) canal_depth: f64,
    pub(crate) canal_width: f64,
    pub(crate) cord_depth: f64,
    pub(crate) cord_width: f64,
}

/// Places of C2, C6, T1, T3, T7, T12, L1, L3, L5; the levels between are on straight lines.
const KNOT_PLACES: [f64; 9] = [27., 23., 21., 19., 15., 10., 9., 7., 5.];
const DEPTH: [f64; 9] = [15., 16., 17., 20., 26., 30., 32., 34., 35.];
const WIDTH: [f64; 9] = [17., 20., 27., 26., 28., 39., 41., 45., 50.];
const HEIGHT: [f64; 9] = [20., 13., 16., 17.5, 20., 25., 26., 27., 27.];
const DISC: [f64; 9] = [5., 5.5, 4.5, 4., 5., 6.5, 8., 10., 10.];
const CANAL_DEPTH: [f64; 9] = [17., 14., 15., 14.5, 14.5, 15.5, 17., 16.5, 17.];
const CANAL_WIDTH: [f64; 9] = [22., 23.5, 20., 17., 16.5, 20., 22., 23., 26.];
const CORD_DEPTH: [f64; 9] = [8.3, 8.1, 7.5, 6.8, 6.6, 8., 6.8, 3.2, 2.2];
const CORD_WIDTH: [f64; 9] = [12.6, 14., 11.2, 9.4, 8.9, 9.9, 8.4, 3.2, 2.2];
/// Sizes of S5..S1 relative to an L5 that is 35 mm deep.
const SACRAL_DEPTH: [f64; 5] = [8., 10.5, 14., 20., 31.5];
const SACRAL_WIDTH: [f64; 5] = [20., 26., 30., 36., 50.];
const SACRAL_HEIGHT: [f64; 5] = [15., 17., 21., 25., 30.];
const SACRAL_CANAL_DEPTH: [f64; 5] = [2., 5., 8., 11., 14.];
const SACRAL_CANAL_WIDTH: [f64; 5] = [4., 10., 14., 20., 26.];

/// No disc is thinner, so that two bodies never become one without being a block vertebra.
const LEAST_DISC_MM: f64 = 1.5;

fn knot(table: &[f64; 9], place: f64) -> f64 {
    let above = KNOT_PLACES.iter().rposition(|&knot| knot >= place).unwrap_or(0);
    let below = (above + 1).min(KNOT_PLACES.len() - 1);
    if above == below {
        return table[above];
    }
    let part = (KNOT_PLACES[above] - place) / (KNOT_PLACES[above] - KNOT_PLACES[below]);
    table[above] + (table[below] - table[above]) * part
}

/// Sizes of every level of `plan` with what `findings` take from them.
pub(crate) fn sizes(
    random: &mut Random,
    plan: &Plan,
    findings: &[Findings],
    population: Population,
) -> Vec<Size> {
    // A group as large as training's has both narrow and wide canals, thin and thick cords.
    let wide = if population == Population::Training { 2.0 } else { 1.0 };
    let stature = 1.0 + 0.07 * random.normal().clamp(-2.0, 2.0);
    let mut own = |spread: f64| stature * (1.0 + spread * random.normal());
    let person = [own(0.03), own(0.03), own(0.03), own(0.12), own(0.05 * wide), own(0.04 * wide)];
    let cord = [own(0.05 * wide), own(0.05 * wide)];
    let mut sizes = vec![Size::default(); plan.links.len()];
    for (level, size) in sizes.iter_mut().enumerate().skip(L5) {
        let place = plan.links[level].place;
        let mut here = |table: &[f64; 9], person: f64, spread: f64| {
            knot(table, place) * person * (1.0 + spread * random.normal())
        };
        *size = Size {
            depth: here(&DEPTH, person[0], 0.02),
            width: here(&WIDTH, person[1], 0.02),
            height: here(&HEIGHT, person[2], 0.02),
            disc: here(&DISC, person[3], 0.06),
            canal_depth: here(&CANAL_DEPTH, person[4], 0.025),
            canal_width: here(&CANAL_WIDTH, person[5], 0.025),
            cord_depth: here(&CORD_DEPTH, cord[0], 0.02),
            cord_width: here(&CORD_WIDTH, cord[1], 0.02),
        };
        let found = &findings[level];
        size.disc = (size.disc * found.disc.height).max(LEAST_DISC_MM);
        if let Some(fracture) = found.fracture {
            size.height *= fracture.height_left();
        }
    }
    sacral(random, plan, &mut sizes);
    sizes
}

fn sacral(random: &mut Random, plan: &Plan, sizes: &mut [Size]) {
    let relative = sizes[L5].depth / 35.0;
    // S1 and S2 keep a remnant of their disc, the lower segments are fused.
    let remnant = match (plan.lumbarised, random.chance(0.65)) {
        (true, _) => random.between(4.5, 9.0),
        (_, true) => random.between(1.3, 2.5),
        _ => random.between(2.0, 5.5),
    };
    for level in 0..=S1 {
        sizes[level] = Size {
            depth: SACRAL_DEPTH[level] * relative * (1.0 + 0.025 * random.normal()),
            width: SACRAL_WIDTH[level] * relative,
            height: SACRAL_HEIGHT[level] * relative * (1.0 + 0.025 * random.normal()),
            disc: if level == S1 { remnant } else { 0.7 },
            canal_depth: SACRAL_CANAL_DEPTH[level] * random.between(0.9, 1.1),
            canal_width: SACRAL_CANAL_WIDTH[level] * random.between(0.95, 1.05),
            cord_depth: 2.0,
            cord_width: 2.0,
        };
    }
    if plan.lumbarised {
        // Its lower end is nearly as deep as its upper one.
        sizes[S1 - 1].depth = sizes[S1].depth * 0.85;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_pass_their_knots() {
        assert_eq!(knot(&DEPTH, 27.0), 15.0);
        assert_eq!(knot(&DEPTH, 5.0), 35.0);
        assert_eq!(knot(&WIDTH, 8.0), 43.0);
        assert_eq!(knot(&HEIGHT, 10.0), 25.0);
    }
}
