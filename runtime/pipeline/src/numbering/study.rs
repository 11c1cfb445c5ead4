//! Levels that another series of the study names: a station above, a localiser, another contrast.
//!
//! Series of one frame of reference share the patient's coordinates (DICOM PS3.3 C.7.4.1), so a body lies where it lies in
//! every one of them. A thoracic station without a landmark gets its levels from the lumbar one, where the sacrum is in view.

use crate::labels::VertebraId;
use kernels::volume::{norm, sub};

/// A body matches a known one within this share of the distance to its nearest neighbour: beyond, a patient who moved
/// between the series could put it on the next level.
const REACH: f64 = 0.4;

/// A vertebra whose level is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownLevel {
    pub level: VertebraId,
    /// Centre of its body, LPS mm.
    pub body_centroid_mm: [f64; 3],
}

/// A series of the same study and frame of reference in which a landmark names the levels: its vertebrae.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    pub levels: Vec<KnownLevel>,
}

/// What the neighbours say of the uppermost body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// No body of theirs lies where one of ours does.
    Nothing,
    /// It has this id; the neighbour by number that matched most bodies, the first of equals.
    First { id: u8, neighbour: usize },
    /// They name different levels, or none that leaves room for the bodies above.
    Contradiction,
}

/// Matches `bodies` (centres, LPS mm, top to bottom) with the vertebrae of `neighbours`. Every match must mean the same.
pub(super) fn ask(bodies: &[[f64; 3]], neighbours: &[Neighbour]) -> Said {
    let mut said = Said::Nothing;
    let mut most = 0;
    for (neighbour, series) in neighbours.iter().enumerate() {
        let firsts: Vec<Option<u8>> = matches(bodies, &series.levels)
            .map(|(row, level)| level.value().checked_sub(row as u8).filter(|&id| id > 0))
            .collect();
        for &first in &firsts {
            said = match (said, first) {
                (Said::Nothing, Some(id)) => Said::First { id, neighbour },
                (Said::First { id, neighbour }, Some(other)) if id == other => {
                    Said::First { id, neighbour }
                }
                _ => return Said::Contradiction,
            };
        }
        if let Said::First { id, .. } = said
            && firsts.len() > most
        {
            said = Said::First { id, neighbour };
            most = firsts.len();
        }
    }
    said
}

/// Rows of `bodies` with the level that lies there. A thirteenth thoracic vertebra has no place in the row of ids and matches
/// nothing.
fn matches<'a>(
    bodies: &'a [[f64; 3]],
    known: &'a [KnownLevel],
) -> impl Iterator<Item = (usize, VertebraId)> + 'a {
    let in_row = known.iter().filter(|known| known.level < VertebraId::SACRUM);
    bodies.iter().enumerate().filter_map(move |(row, &body)| {
        let away = |known: &&KnownLevel| distance(body, known.body_centroid_mm);
        let nearest = in_row.clone().min_by(|a, b| away(a).total_cmp(&away(b)))?;
        (away(&nearest) <= REACH * pitch(bodies, known, row)).then_some((row, nearest.level))
    })
}

/// Distance from a body to the nearest other one of its series; where it is alone, the smallest between the known ones.
fn pitch(bodies: &[[f64; 3]], known: &[KnownLevel], row: usize) -> f64 {
    let others = bodies.iter().enumerate().filter(|&(other, _)| other != row);
    let own = others.map(|(_, &other)| distance(bodies[row], other));
    let theirs =
        known.windows(2).map(|two| distance(two[0].body_centroid_mm, two[1].body_centroid_mm));
    own.reduce(f64::min).or_else(|| theirs.reduce(f64::min)).unwrap_or(0.0)
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    norm(sub(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Centres of `ids`, 30 mm apart, on a line that T1 begins.
    fn at(ids: std::ops::RangeInclusive<u8>) -> Vec<[f64; 3]> {
        ids.map(|id| [1.0, 4.0, -30.0 * f64::from(id)]).collect()
    }

    fn neighbour(ids: std::ops::RangeInclusive<u8>, shift: [f64; 3]) -> Neighbour {
        let level = |(id, centre): (u8, [f64; 3])| KnownLevel {
            level: VertebraId::new(id).unwrap(),
            body_centroid_mm: kernels::volume::add(centre, shift),
        };
        Neighbour { levels: ids.clone().zip(at(ids)).map(level).collect() }
    }

    #[test]
    fn a_shared_vertebra_names_the_others() {
        let lumbar = neighbour(18..=24, [0.0, 3.0, -5.0]);
        assert_eq!(
            ask(&at(10..=19), std::slice::from_ref(&lumbar)),
            Said::First { id: 10, neighbour: 0 }
        );
        // One body in view, and it is shared.
        assert_eq!(ask(&at(18..=18), &[lumbar]), Said::First { id: 18, neighbour: 0 });
    }

    #[test]
    fn the_neighbour_with_most_shared_vertebrae_is_named() {
        let few = neighbour(18..=24, [0.0; 3]);
        let many = neighbour(12..=24, [0.0; 3]);
        assert_eq!(ask(&at(10..=19), &[few, many]), Said::First { id: 10, neighbour: 1 });
    }

    #[test]
    fn bodies_elsewhere_and_half_way_between_two_match_nothing() {
        assert_eq!(ask(&at(8..=12), &[neighbour(20..=24, [0.0; 3])]), Said::Nothing);
        let moved = neighbour(8..=12, [0.0, 0.0, 15.0]);
        assert_eq!(ask(&at(8..=12), &[moved]), Said::Nothing);
        assert_eq!(ask(&at(8..=12), &[]), Said::Nothing);
        assert_eq!(ask(&[], &[neighbour(20..=24, [0.0; 3])]), Said::Nothing);
    }

    #[test]
    fn neighbours_that_name_one_body_differently_are_a_contradiction() {
        let right = neighbour(12..=24, [0.0; 3]);
        let shifted = neighbour(12..=24, [0.0, 0.0, 30.0]);
        assert_eq!(ask(&at(10..=19), &[right, shifted]), Said::Contradiction);
        // Six bodies above a C4.
        let cervical = neighbour(4..=7, [0.0; 3]);
        let bodies: Vec<[f64; 3]> =
            (0..10).map(|row| [1.0, 4.0, -30.0 * (f64::from(row) - 2.0)]).collect();
        assert_eq!(ask(&bodies, &[cervical]), Said::Contradiction);
    }
}
