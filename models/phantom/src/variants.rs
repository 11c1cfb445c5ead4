//! Which vertebrae a person has: the usual chain, or one with more, fewer or fused vertebrae.
//!
//! A chain index counts upwards from S5 = 0. A place is where a vertebra would lie in the usual chain of 28 (S5 = 0,
//! L5 = 5, T12 = 10, C7 = 22, C2 = 27), a fraction where the chain has one more or one less.

use crate::Population;
use crate::random::Random;
use crate::spine::{C2, C7, L5, Part, S1, T12};

/// One vertebra of the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Link {
    pub(crate) part: Part,
    pub(crate) place: f64,
    /// SPINEPS instance value.
    pub(crate) id: u8,
}

/// What distinguishes this person's chain.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// S5 to C2.
    pub(crate) links: Vec<Link>,
    /// Chain index of the upper of two vertebrae that are one block without a disc.
    pub(crate) block: Option<usize>,
    /// Wide transverse processes of the lowest lumbar vertebra that are fused with the sacrum: left and right.
    pub(crate) fused: [bool; 2],
    /// S1 looks like a lumbar vertebra: a high disc below it.
    pub(crate) lumbarised: bool,
    /// Length of the lowest ribs as a share of the usual: left and right; 0 is none.
    pub(crate) last_rib: [f64; 2],
}

/// Value of the sacrum in the instance mask.
const SACRUM_ID: u8 = 26;

/// Instance values of T13 and L6: outside the row, as in SPINEPS.
const T13_ID: u8 = 28;
const L6_ID: u8 = 25;

impl Plan {
    /// Frequencies of an ordinary population are those of large series, rounded (Carrino et al., Radiology 2011: 4 or
    /// 6 lumbar vertebrae in 2 to 6 of 100 each, fused processes in 10 to 15); training draws three times as many.
    pub(crate) fn new(random: &mut Random, population: Population) -> Plan {
        let often = match population {
            Population::Ordinary => 0.0,
            Population::Training => 3.0,
        };
        let lumbar = match random.unit() {
            u if u < 0.03 * often => 4,
            u if u > 1.0 - 0.04 * often => 6,
            _ => 5,
        };
        let thoracic = match random.unit() {
            u if u < 0.015 * often => 11,
            u if u > 1.0 - 0.015 * often => 13,
            _ => 12,
        };
        let links = links(lumbar, thoracic);
        let fused = match random.unit() {
            u if u < 0.04 * often => [true, true],
            u if u < 0.06 * often => [true, false],
            u if u < 0.08 * often => [false, true],
            _ => [false; 2],
        };
        let block = random.chance(0.01 * often);
        let upper = random.count(L5 as u64 + 1, links.len() as u64 - 1) as usize;
        let short = random.chance(0.05 * often);
        let length = random.between(0.0, 0.7);
        let missing = random.chance(0.5);
        Plan {
            links,
            block: block.then_some(upper),
            fused,
            lumbarised: random.chance(0.03 * often),
            last_rib: match (short, missing) {
                (true, true) => [length, 1.0],
                (true, false) => [length; 2],
                _ => [1.0; 2],
            },
        }
    }
}

/// The chain with this many lumbar and thoracic vertebrae: 4 to 6 and 11 to 13.
fn links(lumbar: usize, thoracic: usize) -> Vec<Link> {
    let spread = |low: usize, high: usize, n: usize, count: usize| {
        low as f64 + (high - low) as f64 * n as f64 / (count - 1) as f64
    };
    let sacral = (0..=S1).map(|n| Link { part: Part::Sacral, place: n as f64, id: SACRUM_ID });
    let lumbar = (0..lumbar).map(|n| Link {
        part: Part::Lumbar,
        place: spread(L5, T12 - 1, n, lumbar),
        id: match lumbar - n {
            6 => L6_ID,
            number => 19 + number as u8,
        },
    });
    let thoracic = (0..thoracic).map(|n| Link {
        part: Part::Thoracic,
        place: spread(T12, C7 - 1, n, thoracic),
        id: match thoracic - n {
            13 => T13_ID,
            number => 7 + number as u8,
        },
    });
    let cervical =
        (C7..=C2).map(|n| Link { part: Part::Cervical, place: n as f64, id: 7 - (n - C7) as u8 });
    sacral.chain(lumbar).chain(thoracic).chain(cervical).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_and_unusual_chains_carry_the_ids_of_spineps() {
        let ids = |lumbar, thoracic| {
            links(lumbar, thoracic)[L5..].iter().map(|l| l.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(5, 12), (2..=24).rev().collect::<Vec<u8>>());
        assert_eq!(ids(6, 12)[..3], [25, 24, 23]);
        assert_eq!(ids(4, 12)[..5], [23, 22, 21, 20, 19]);
        assert_eq!(ids(5, 13)[4..7], [20, 28, 19]);
        assert_eq!(ids(5, 11)[4..7], [20, 18, 17]);
    }

    #[test]
    fn places_rise_along_every_chain() {
        for lumbar in 4..=6 {
            for thoracic in 11..=13 {
                let links = links(lumbar, thoracic);
                assert!(links.windows(2).all(|pair| pair[0].place < pair[1].place));
            }
        }
    }
}
