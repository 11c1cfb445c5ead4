//! What must hold for every patient that training may draw, however deformed: labels that agree with each other.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use phantom::{Anatomy, Recipe, anatomy};
use std::collections::BTreeMap;

/// Seeds looked at; enough that every variant of a few in a hundred occurs.
const SEEDS: u64 = 300;

/// Twice training's voxel size: an eighth of the time, and every body still has hundreds of voxels.
fn recipe(seed: u64) -> Recipe {
    let usual = Recipe::for_training(seed);
    let (columns, rows) = (usual.columns / 2, usual.rows / 2);
    Recipe { columns, rows, in_plane_mm: 2.0, ..usual }
}

/// The truth of the slices themselves.
struct Truth {
    counts: [usize; 3],
    structure: Vec<u8>,
    vertebra: Vec<u8>,
    voxel_mm3: f64,
}

impl Truth {
    fn new(recipe: &Recipe) -> Truth {
        let made: Anatomy = anatomy(recipe).unwrap();
        let [columns, rows, thin] = made.counts;
        let plane = columns * rows;
        let middles = (made.thin_slices / 2..thin).step_by(made.thin_slices);
        let pick = |all: &[u8]| -> Vec<u8> {
            middles.clone().flat_map(|s| all[s * plane..(s + 1) * plane].to_vec()).collect()
        };
        Truth {
            counts: [columns, rows, thin / made.thin_slices],
            structure: pick(&made.structure),
            vertebra: pick(&made.vertebra),
            voxel_mm3: recipe.in_plane_mm * recipe.in_plane_mm * recipe.slice_mm,
        }
    }

    fn index(&self, n: usize) -> [usize; 3] {
        let [columns, rows, _] = self.counts;
        [n % columns, n / columns % rows, n / (columns * rows)]
    }

    /// Every value of the instance mask on one structure: its voxels.
    fn parts(&self, structure: u8) -> BTreeMap<u8, Vec<usize>> {
        let mut parts: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for n in (0..self.structure.len()).filter(|&n| self.structure[n] == structure) {
            parts.entry(self.vertebra[n]).or_default().push(n);
        }
        parts
    }

    /// Mean row.
    fn height(&self, voxels: &[usize]) -> f64 {
        voxels.iter().map(|&n| self.index(n)[1] as f64).sum::<f64>() / voxels.len() as f64
    }

    fn touches_the_edge(&self, voxels: &[usize]) -> bool {
        let at_edge = |n: usize| {
            let index = self.index(n);
            (0..3).any(|axis| index[axis] == 0 || index[axis] + 1 == self.counts[axis])
        };
        voxels.iter().any(|&n| at_edge(n))
    }

    /// Size of the largest component of these voxels, neighbours by face, edge or corner.
    fn largest(&self, voxels: &[usize]) -> usize {
        let mut left: std::collections::BTreeSet<usize> = voxels.iter().copied().collect();
        let mut largest = 0;
        while let Some(start) = left.pop_first() {
            let (mut size, mut front) = (0, vec![start]);
            while let Some(n) = front.pop() {
                size += 1;
                for near in self.near(n) {
                    if left.remove(&near) {
                        front.push(near);
                    }
                }
            }
            largest = largest.max(size);
        }
        largest
    }

    fn near(&self, n: usize) -> Vec<usize> {
        let [i, j, k] = self.index(n);
        let [columns, rows, slices] = self.counts;
        let around = |v: usize, count: usize| v.saturating_sub(1)..=(v + 1).min(count - 1);
        let mut near = Vec::with_capacity(27);
        for z in around(k, slices) {
            for y in around(j, rows) {
                near.extend(around(i, columns).map(|x| x + columns * (y + rows * z)));
            }
        }
        near
    }
}

/// Place of a vertebra's id from top to bottom: T13 lies between T12 and L1.
fn order(id: u8) -> u8 {
    match id {
        28 => 20,
        id if id > 19 => id + 1,
        id => id,
    }
}

fn check(seed: u64) {
    let truth = Truth::new(&recipe(seed));
    for (&structure, &id) in std::iter::zip(&truth.structure, &truth.vertebra) {
        let is_vertebra = |id: u8| matches!(id, 1..=25 | 28);
        let agrees = match structure {
            // C1 is background with an id.
            0 => id <= 1,
            60 | 61 => id == 0,
            26 => id == 26,
            41..=49 => is_vertebra(id) && id != 1,
            100 => id > 101 && is_vertebra(id - 100),
            62 => id > 201 && is_vertebra(id - 200),
            _ => false,
        };
        assert!(agrees, "seed {seed}: structure {structure} has id {id}");
    }
    let bodies = truth.parts(49);
    let mut chain: Vec<(u8, f64)> = Vec::new();
    for (&id, voxels) in &bodies {
        if voxels.len() >= 30 {
            chain.push((order(id), truth.height(voxels)));
        }
        if truth.touches_the_edge(voxels) {
            continue;
        }
        let volume = voxels.len() as f64 * truth.voxel_mm3;
        assert!((700.0..110_000.0).contains(&volume), "seed {seed}: body {id} has {volume} mm3");
        let largest = truth.largest(voxels);
        // A spur or an uneven edge may leave a crumb.
        assert!(
            largest * 100 >= voxels.len() * 97,
            "seed {seed}: body {id} is in pieces: {largest} of {}",
            voxels.len()
        );
    }
    chain.sort_by_key(|link| link.0);
    for pair in chain.windows(2) {
        assert!(pair[0].1 < pair[1].1, "seed {seed}: {pair:?}");
    }
    for (id, voxels) in truth.parts(100) {
        if truth.touches_the_edge(&voxels) || voxels.len() < 30 {
            continue;
        }
        let (place, own) = (truth.height(&voxels), order(id - 100));
        let at = |wanted: u8| chain.iter().find(|link| link.0 == wanted).map(|link| link.1);
        assert!(at(own).is_none_or(|above| above < place), "seed {seed}: disc {id}");
        let below = chain.iter().find(|link| link.0 > own);
        assert!(below.is_none_or(|below| place < below.1), "seed {seed}: disc {id}");
    }
}

#[test]
fn labels_of_every_training_patient_agree_with_each_other() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || (first..SEEDS).step_by(threads as usize).for_each(check));
        }
    });
}
