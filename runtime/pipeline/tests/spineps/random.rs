//! Senseless masks: whatever the nets answer, the stages end with a mask or with a reason. Seeds are printed.

use super::case::grid;
use kernels::Volume;
use kernels::components::Bounds;
use pipeline::spineps::Rules;
use pipeline::spineps::clean::{Extent, clean};
use pipeline::spineps::cutouts::Cutout;
use pipeline::spineps::ended::Ended;
use pipeline::spineps::fusion::{candidates, couples, fuse};
use pipeline::spineps::instances::instances;
use pipeline::spineps::{prepare, split};

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Labels of the nets, of none, and two that are unknown.
const LABELS: [u8; 14] = [0, 26, 41, 42, 45, 48, 49, 49, 50, 51, 60, 61, 100, 62];
const COUNTS: [[usize; 3]; 7] =
    [[1, 1, 1], [40, 60, 1], [1, 80, 20], [64, 50, 9], [65, 90, 12], [30, 30, 30], [7, 130, 5]];
/// Square voxels, those of the nets, a thick slice, and 20 to 1 in each direction.
const SPACINGS: [[f64; 3]; 5] =
    [[1.0; 3], [0.75, 0.75, 1.65], [0.5, 0.5, 4.4], [0.3, 0.3, 6.0], [6.0, 0.3, 0.3]];

/// Blocks of labels, salted.
fn mask(random: &mut Random) -> Volume<u8> {
    let counts = random.pick(&COUNTS);
    let grid = grid(counts, random.pick(&SPACINGS));
    let mut volume = Volume::filled(grid, random.pick(&[0, 0, 0, 49, 255]));
    for _ in 0..random.below(30) {
        let label = random.pick(&LABELS);
        let min = counts.map(|n| random.below(n));
        let end: [usize; 3] =
            [0, 1, 2].map(|axis| (min[axis] + 1 + random.below(25)).min(counts[axis]));
        for offset in 0..grid.dims.voxels() {
            let index = grid.dims.index(offset);
            if (0..3).all(|axis| (min[axis]..end[axis]).contains(&index[axis])) {
                volume.voxels_mut()[offset] = label;
            }
        }
    }
    for _ in 0..random.below(200) {
        let (at, label) = (random.below(grid.dims.voxels()), random.below(256) as u8);
        volume.voxels_mut()[at] = label;
    }
    volume
}

#[test]
fn no_mask_makes_the_stages_panic() {
    let mut ends = std::collections::BTreeMap::new();
    for seed in 0..150 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let labels = mask(&mut random);
        for rules in [Rules::Spineps213, Rules::Sagitta] {
            let extent = random.pick(&[Extent::Whole, Extent::NearCanal]);
            let cleaned = clean(&labels, extent, rules).map(|cleaned| cleaned.labels);
            let mut cutouts = 0;
            let predict = |_: &Cutout, shown: &[u8], answer: &mut [u8]| {
                cutouts += 1;
                // A whole cutout of noise takes long; three are enough.
                let noise = |&code: &u8| {
                    if cutouts < 4 { (code as usize + random.below(3)) as u8 % 5 } else { code % 4 }
                };
                answer.iter_mut().zip(shown.iter().map(noise)).for_each(|(to, class)| *to = class);
                Ok::<_, Ended>(())
            };
            let end = cleaned.and_then(|labels| instances(&labels, rules, predict));
            *ends.entry(end.map_or_else(|e| e.to_string(), |_| "a mask".into())).or_insert(0) += 1;
        }
        split::split(&labels);
        split::at_waist(&labels);
    }
    println!("{ends:?}");
    assert!(ends.len() > 2 && ends.contains_key("a mask"), "{ends:?}");
}

#[test]
fn no_image_makes_the_preparation_panic() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let values = [0.0, -7.5, f32::NAN, f32::INFINITY, 3000.0, f32::MAX, f32::MIN];
        let image = mask(&mut random).map(|v| values[usize::from(v) % values.len()]);
        for spacing in SPACINGS {
            let _ = prepare::image_at(&image, spacing);
        }
        let _ = prepare::prepare(&image);
        let higher = |part: &mut Volume<f32>| part.voxels_mut().iter_mut().for_each(|v| *v += 1.0);
        let _ = prepare::prepare_with(&image, higher);
    }
}

/// Answers of any kind: no vertebra, one in one cutout, all the same, classes that the net has not.
#[test]
fn any_answers_are_fused() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let volume = mask(&mut random);
        let counts = volume.dims().counts();
        let mut found = Vec::new();
        for cutout in 0..random.below(6) {
            let min = counts.map(|n| random.below(n));
            let max = [0, 1, 2].map(|axis| min[axis] + random.below(counts[axis] - min[axis]));
            let voxels: usize = (0..3).map(|axis| max[axis] + 1 - min[axis]).product();
            let classes: Vec<u8> = (0..voxels).map(|_| random.below(6) as u8).collect();
            found.extend(candidates(
                cutout,
                Bounds { min, max },
                classes.chunks(max[0] + 1 - min[0]),
            ));
        }
        let couples = couples(&found);
        match fuse(*volume.grid(), &found, &couples) {
            Ok(mut fused) => {
                fused.drop_crumbs();
                fused.fill_holes();
                fused.renumbered();
            }
            Err(end) => assert_eq!((end, found.len()), (Ended::NoVertebra, 0)),
        }
    }
}
