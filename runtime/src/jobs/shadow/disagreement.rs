//! In what two models differ about a series, and the sum of it over many. Pure.

use crate::registry::Model;
use kernels::Volume;
use pipeline::Structure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values of an instance mask below this are vertebrae; above are their discs and endplates.
const VERTEBRAE: std::ops::Range<u16> = 1..100;

/// Semantic mask and instance mask of one model.
type Masks<'a> = (&'a Volume<u8>, &'a Volume<u16>);

/// In what a candidate differs from the active model about one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// Of each structure that one of them found.
    pub dice: BTreeMap<u8, f64>,
    /// Vertebrae that the active model found.
    pub vertebrae: u32,
    /// Of those, the ones that the candidate calls by another level.
    pub level_flips: u32,
    /// Of those, the ones it did not find.
    pub lost: u32,
    /// Vertebrae that the candidate alone found.
    pub added: u32,
}

impl Disagreement {
    /// Compares masks on one grid; those of a series always are.
    pub fn between(active: Masks<'_>, candidate: Masks<'_>) -> Disagreement {
        let dice = dice(active.0.voxels(), candidate.0.voxels());
        let (found, shared) = overlaps(active.1.voxels(), candidate.1.voxels());
        let [ours, theirs] = found;
        let (mut level_flips, mut lost) = (0, 0);
        let mut met = std::collections::BTreeSet::new();
        for (&vertebra, &voxels) in &ours {
            let partners = shared.range((vertebra, 0)..=(vertebra, u16::MAX));
            let partner = partners.max_by_key(|&(_, &voxels)| voxels);
            match partner {
                // Less than half of it is another thing at the same place.
                Some((&(_, partner), &both)) if 2 * both > voxels => {
                    met.insert(partner);
                    level_flips += u32::from(partner != vertebra);
                }
                _ => lost += 1,
            }
        }
        let added = theirs.keys().filter(|vertebra| !met.contains(vertebra)).count() as u32;
        Disagreement { dice, vertebrae: ours.len() as u32, level_flips, lost, added }
    }

    /// Of the structure that they agree least about; 1 where there is none.
    pub fn least_dice(&self) -> f64 {
        self.dice.values().copied().fold(1.0, f64::min)
    }
}

fn dice(active: &[u8], candidate: &[u8]) -> BTreeMap<u8, f64> {
    let (mut sizes, mut both) = ([0_u64; 256], [0_u64; 256]);
    for (&a, &c) in active.iter().zip(candidate) {
        sizes[usize::from(a)] += 1;
        sizes[usize::from(c)] += 1;
        both[usize::from(a)] += u64::from(a == c);
    }
    let found = (1..=u8::MAX).filter(|&value| sizes[usize::from(value)] > 0);
    found
        .map(|value| {
            let at = usize::from(value);
            (value, 2.0 * both[at] as f64 / sizes[at] as f64)
        })
        .collect()
}

/// Voxels of each vertebra of both, and of each pair that shares any.
type Overlaps = ([BTreeMap<u16, u64>; 2], BTreeMap<(u16, u16), u64>);

fn overlaps(active: &[u16], candidate: &[u16]) -> Overlaps {
    let (mut found, mut shared) = ([BTreeMap::new(), BTreeMap::new()], BTreeMap::new());
    for (&a, &c) in active.iter().zip(candidate) {
        let is = [a, c].map(|value| VERTEBRAE.contains(&value));
        if is[0] {
            *found[0].entry(a).or_insert(0) += 1;
        }
        if is[1] {
            *found[1].entry(c).or_insert(0) += 1;
        }
        if is == [true, true] {
            *shared.entry((a, c)).or_insert(0) += 1;
        }
    }
    (found, shared)
}

/// Dice of one structure over the series in which one of the models found it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructureDice {
    pub series: u64,
    pub mean: f64,
    pub least: f64,
}

/// What was added up over the finished jobs that a candidate saw. Holds no patient data: numbers, and names of models and
/// structures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    pub candidate: Model,
    pub active: Model,
    /// Of the candidate's semantic net: other weights begin a new sum.
    pub weights_sha256: String,
    /// Compared.
    pub series: u64,
    /// Finished while an earlier one waited for idle time.
    pub skipped: u64,
    /// The candidate had no result.
    pub failed: u64,
    pub structures: BTreeMap<String, StructureDice>,
    pub vertebrae: u64,
    pub level_flips: u64,
    pub lost: u64,
    pub added: u64,
}

impl Summary {
    pub(super) fn new(candidate: Model, active: Model, weights_sha256: String) -> Summary {
        Summary {
            candidate,
            active,
            weights_sha256,
            series: 0,
            skipped: 0,
            failed: 0,
            structures: BTreeMap::new(),
            vertebrae: 0,
            level_flips: 0,
            lost: 0,
            added: 0,
        }
    }

    pub(super) fn add(&mut self, said: &Disagreement) {
        self.series += 1;
        self.vertebrae += u64::from(said.vertebrae);
        self.level_flips += u64::from(said.level_flips);
        self.lost += u64::from(said.lost);
        self.added += u64::from(said.added);
        for (&value, &dice) in &said.dice {
            let name = Structure::from_value(value).map_or("unknown", Structure::name);
            let first = StructureDice { series: 0, mean: 0.0, least: 1.0 };
            let sum = self.structures.entry(name.to_owned()).or_insert(first);
            sum.series += 1;
            sum.mean += (dice - sum.mean) / sum.series as f64;
            sum.least = sum.least.min(dice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims, Grid};

    fn masks(semantic: [u8; 8], instances: [u16; 8]) -> (Volume<u8>, Volume<u16>) {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([8, 1, 1]).unwrap(), affine };
        let semantic = Volume::new(grid, semantic.to_vec()).unwrap();
        (semantic, Volume::new(grid, instances.to_vec()).unwrap())
    }

    fn between(
        active: &(Volume<u8>, Volume<u16>),
        candidate: &(Volume<u8>, Volume<u16>),
    ) -> Disagreement {
        Disagreement::between((&active.0, &active.1), (&candidate.0, &candidate.1))
    }

    #[test]
    fn a_model_agrees_with_itself() {
        let masks = masks([0, 49, 49, 49, 100, 49, 49, 0], [0, 23, 23, 23, 123, 24, 24, 0]);
        let said = between(&masks, &masks);
        assert_eq!((said.vertebrae, said.level_flips, said.lost, said.added), (2, 0, 0, 0));
        assert_eq!((said.least_dice(), said.dice.len()), (1.0, 2));
    }

    #[test]
    fn another_level_a_lost_and_a_new_vertebra_are_told_apart() {
        let active = masks([49; 8], [23, 23, 23, 0, 24, 24, 24, 0]);
        let candidate = masks([49, 49, 49, 49, 0, 0, 0, 0], [22, 22, 22, 0, 0, 0, 0, 25]);
        let said = between(&active, &candidate);
        assert_eq!((said.vertebrae, said.level_flips, said.lost, said.added), (2, 1, 1, 1));
        assert_eq!(said.dice[&49], 2.0 * 4.0 / 12.0);
        let mut summary = Summary::new(Model::BuiltIn, Model::BuiltIn, String::new());
        summary.add(&said);
        summary.add(&between(&active, &active));
        let body = summary.structures["Vertebral body"];
        assert_eq!((body.series, body.least), (2, said.dice[&49]));
        assert!((body.mean - f64::midpoint(1.0, said.dice[&49])).abs() < 1e-12);
        assert_eq!((summary.series, summary.vertebrae, summary.level_flips), (2, 4, 1));
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }
}
