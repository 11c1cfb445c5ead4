//! Arches and processes -> their vertebra.
//!
//! In slices of 3 to 4 mm the arches of neighbouring vertebrae touch, and an inferior articular process lies against the
//! superior one of the next: no path through bone tells them apart. Their height along the spine does: each kind of part
//! sits at its own height of its vertebra, and neighbours are a whole vertebra away.

use crate::card::{Class, ModelCard};
use crate::labels::Structure;
use crate::spine::{self, Level};
use crate::vertebrae::Bodies;
use kernels::Volume;
use kernels::components::{self, Connectivity};

/// A part farther than this from its place on every vertebra, in vertebrae, is part of one whose body is out of view.
/// Half a vertebra parts neighbours; the rest is room for the curve's end, where only one neighbour gives the direction.
const MAX_MISFIT: f64 = 0.7;
/// A connected part goes as a whole when this share of it votes for one vertebra; else neighbours touch, and it is cut.
const WHOLE_SHARE: f64 = 0.7;

/// Where a part lies: along the spine's axis, downwards from the body's centre, in units of the distance between bodies:
/// `at + slope * posterior`, with `posterior` the distance behind the body's centre in the same unit.
struct Place {
    at: f64,
    slope: f64,
}

/// The place of `structure`. Pedicles leave the upper half of the body and laminae slope down from them; superior
/// articular processes reach the disc above, inferior ones the disc below; spinous processes slant downwards, more the
/// longer they are (Gray's Anatomy, "The vertebral column"). The figures are fits over procedural patients of all
/// regions, where they put 97 to 100 % of the voxels within half a vertebra.
fn place(structure: Structure) -> Option<Place> {
    let (at, slope) = match structure {
        Structure::VertebralArch => (-0.29, 0.33),
        Structure::SpinousProcess => (-0.35, 0.5),
        Structure::TransverseProcessLeft | Structure::TransverseProcessRight => (-0.06, 0.0),
        Structure::SuperiorArticularLeft | Structure::SuperiorArticularRight => (0.02, -0.42),
        Structure::InferiorArticularLeft | Structure::InferiorArticularRight => (0.2, 0.2),
        _ => return None,
    };
    Some(Place { at, slope })
}

/// How far, in vertebrae, a point is from where a part with `place` lies at `level`.
fn misfit(level: &Level, point: [f64; 3], place: &Place) -> f64 {
    let [below, behind] = level.place(point);
    (below - place.at - place.slope * behind.max(0.0)).abs()
}

/// Gives every voxel of a vertebra the body it belongs to: body voxels their label, parts behind it by their height.
/// Parts of vertebrae out of view belong to none.
pub fn assign(classes: &Volume<u8>, bodies: &Bodies, card: &ModelCard) -> Volume<u16> {
    let levels = spine::levels(&bodies.centres, classes.grid().affine.spacing());
    let places: Vec<Option<Place>> = card
        .classes
        .iter()
        .map(|class| match *class {
            Class::Background => None,
            Class::Single(structure) | Class::Paired(structure, _) => place(structure),
        })
        .collect();
    let mut owners = bodies.labels.clone();
    let found = components::label(
        &classes.map(|class| if places[usize::from(class)].is_some() { class } else { 0 }),
        Connectivity::Corners26,
    );
    let mut votes = vec![vec![0usize; levels.len() + 1]; found.parts.len()];
    let spacing = classes.grid().affine.spacing();
    let dims = classes.dims();
    for (n, range) in found.runs() {
        let Some(place) = &places[usize::from(found.parts[n].value)] else { continue };
        for offset in range {
            let index = dims.index(offset);
            let point = std::array::from_fn(|axis| index[axis] as f64 * spacing[axis]);
            let owner = nearest(&levels, point, place);
            owners.voxels_mut()[offset] = owner;
            votes[n][usize::from(owner)] += 1;
        }
    }
    let whole: Vec<Option<u16>> = votes.iter().map(|votes| winner(votes)).collect();
    for (n, range) in found.runs() {
        if let Some(owner) = whole[n] {
            owners.voxels_mut()[range].fill(owner);
        }
    }
    owners
}

/// The label of the level where a part with `place` fits `point` best; 0 when it fits none.
fn nearest(levels: &[Level], point: [f64; 3], place: &Place) -> u16 {
    let misfits = levels.iter().map(|level| misfit(level, point, place));
    let best = misfits.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|&(_, misfit)| misfit <= MAX_MISFIT).map_or(0, |(level, _)| level as u16 + 1)
}

/// The owner a part has as a whole, if its voxels agree.
fn winner(votes: &[usize]) -> Option<u16> {
    let (owner, &most) =
        votes.iter().enumerate().max_by_key(|&(owner, n)| (*n, usize::MAX - owner))?;
    (most as f64 >= WHOLE_SHARE * votes.iter().sum::<usize>() as f64).then_some(owner as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_whole_only_when_its_voxels_agree() {
        assert_eq!(winner(&[0, 8, 2]), Some(1));
        assert_eq!(winner(&[0, 6, 4]), None);
        assert_eq!(winner(&[9, 1, 0]), Some(0));
    }

    #[test]
    fn every_part_of_a_vertebra_has_its_place() {
        for structure in Structure::ALL {
            let part = structure.is_vertebra() && structure != Structure::VertebralBody;
            assert_eq!(place(structure).is_some(), part, "{structure:?}");
        }
    }
}
