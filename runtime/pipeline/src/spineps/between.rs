//! Discs and endplates -> the vertebra they belong to.
//!
//! SPINEPS' rule is the vertebra with the lowest body that still is higher. Where it fails: a sacrum, or a vertebra without
//! a body, is taken to lie at the very top, so that a disc above the first body becomes one of the sacrum (126).

use crate::course::Course;
use crate::labels::{Structure, VertebraId};
use crate::spineps::Rules;
use crate::spineps::centroids::masses;
use crate::spineps::pieces::Pieces;
use crate::spineps::rows;
use crate::spineps::values::{T13, VERTEBRA_LIMIT, above, rank};
use kernels::Volume;
use kernels::components::Connectivity;

/// Where the vertebrae lie, in the order in which one is looked for.
struct Levels {
    /// Id and place of those that can have a disc below.
    known: Vec<(u8, f64)>,
    present: Vec<u8>,
    rules: Rules,
}

/// Writes `100 + v` for discs and `200 + v` for endplates into `vertebrae`.
pub fn name(vertebrae: &mut Volume<u8>, semantic: &Volume<u8>, rules: Rules) {
    let course = rules.course(semantic);
    let levels = Levels::of(vertebrae, semantic, &course, rules);
    let dims = vertebrae.dims();
    for (structure, offset) in [
        (Structure::Disc, VertebraId::DISC_OFFSET),
        (Structure::Endplate, VertebraId::ENDPLATE_OFFSET),
    ] {
        let own = |v| u8::from(v == structure.value());
        let Some(pieces) = Pieces::of(semantic, own, Connectivity::Corners26) else { continue };
        for n in 0..pieces.count() {
            let place = course.place(pieces.centroid(n));
            let id = levels.id_at(place, structure).unwrap_or(0);
            let value = if id == 0 { 0 } else { u16::from(id) + offset };
            let value = u8::try_from(value).unwrap_or(0);
            for at in pieces.voxels(n) {
                vertebrae.voxels_mut()[dims.offset(at)] = value;
            }
        }
    }
}

impl Levels {
    fn of(vertebrae: &Volume<u8>, semantic: &Volume<u8>, course: &Course, rules: Rules) -> Levels {
        let present = present(vertebrae, rules);
        let body = Structure::VertebralBody.value();
        let bodies = masses(vertebrae, |at, _| semantic.voxels()[at] == body);
        let place = |id: &u8| bodies.get(&u16::from(*id)).map(|m| course.place(m.centroid()));
        let places: Vec<Option<f64>> = present.iter().map(place).collect();
        let known = match rules {
            Rules::Spineps213 => {
                let last = VertebraId::SACRUM.value();
                let all = present.iter().zip(&places).filter(|&(&id, _)| id <= last || id == T13);
                all.map(|(&id, place)| (id, place.unwrap_or(0.0))).collect()
            }
            Rules::Sagitta => (0..present.len())
                .filter(|&n| present[n] != VertebraId::SACRUM.value())
                .filter_map(|n| Some((present[n], places[n].or_else(|| midway(&places, n))?)))
                .collect(),
        };
        Levels { known, present, rules }
    }

    /// The vertebra that a disc or endplate at `place` belongs to; `None` where there are no vertebrae.
    fn id_at(&self, place: f64, structure: Structure) -> Option<u8> {
        let places = self.known.iter().map(|&(_, at)| at);
        let highest = places.clone().min_by(f64::total_cmp)?;
        let over = places.filter(|&at| at < place).max_by(f64::total_cmp);
        let owner = |at: f64| self.known.iter().find(|level| level.1 == at).map(|level| level.0);
        match (over, self.rules) {
            (Some(at), _) => owner(at),
            // SPINEPS: a disc is the one above the smallest id, an endplate one of the highest vertebra.
            (None, Rules::Spineps213) if structure == Structure::Disc && place < highest => {
                self.known.first().map(|level| level.0.saturating_sub(1))
            }
            (None, Rules::Spineps213) => owner(highest),
            (None, Rules::Sagitta) => owner(highest).map(|first| above(first, &self.present)),
        }
    }
}

/// The vertebrae and the sacrum that are there: by value under SPINEPS' rules, else from top to bottom.
pub(super) fn present(vertebrae: &Volume<u8>, rules: Rules) -> Vec<u8> {
    let mut seen = [false; 256];
    for (_, block) in rows::blocks(vertebrae) {
        block.iter().for_each(|&id| seen[usize::from(id)] = true);
    }
    let mut present: Vec<u8> = (1..VERTEBRA_LIMIT).filter(|&id| seen[usize::from(id)]).collect();
    if rules == Rules::Sagitta {
        present.sort_by_key(|&id| rank(id));
    }
    present
}

/// Between the nearest known places above and below: where a vertebra without a body lies.
fn midway(places: &[Option<f64>], n: usize) -> Option<f64> {
    let over = places[..n].iter().rev().flatten().next()?;
    let under = places[n + 1..].iter().flatten().next()?;
    Some((over + under) / 2.0)
}
