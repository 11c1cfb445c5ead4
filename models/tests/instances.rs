//! The instance stage on patients whose vertebrae are known, with masks as bad as real nets make them.
//!
//! The masks are corrupted truths (`phantom::corrupt`) with seeds that training never saw. A vertebra is separated correctly
//! when one predicted instance covers it with an IoU of at least .8, counted over the voxels that mask and truth both give to
//! vertebrae, and no other predicted instance takes more than a tenth of it.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use kernels::components::{self, Bounds};
use kernels::{Grid, Volume};
use models::engine::{EngineChoice, Forms, Shipped, start};
use models::weights::Form;
use phantom::{Recipe, corrupt, generate};
use pipeline::instances::{Instances, by_height, separate};
use pipeline::{Nets, Numbering, Structure, VertebraId, clean, join, vertebrae};
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Far beyond every seed of the training.
const FIRST_SEED: u64 = 9_000_000;
const MIN_IOU: f64 = 0.8;
const MAX_TAKEN: f64 = 0.1;
/// A body of which less is in view need not be found: the pipeline's own smallest body, with room for its rounding.
const MIN_TRUE_BODY_ML: f64 = 0.8;

/// How many vertebrae there are, and what went wrong with how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    vertebrae: usize,
    correct: usize,
    /// Most of it lies in an instance that has most of another one, too.
    fused: usize,
    /// No instance has half of it.
    missed: usize,
    /// Another instance takes more than a tenth.
    split: usize,
    /// Its instance takes too much of others, or too little of it.
    leaked: usize,
    /// Instances that have most of no vertebra.
    spurious: usize,
    /// Spines in which all are correct.
    spines: usize,
    /// Spines whose result says that net and classical stage disagree.
    disputed: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.vertebrae += other.vertebrae;
        self.correct += other.correct;
        self.fused += other.fused;
        self.missed += other.missed;
        self.split += other.split;
        self.leaked += other.leaked;
        self.spurious += other.spurious;
        self.spines += other.spines;
        self.disputed += other.disputed;
    }
}

impl Tally {
    fn share(&self) -> f64 {
        self.correct as f64 / self.vertebrae as f64
    }
}

/// Truth and prediction of one spine on one grid; 0 where a voxel is not to be scored.
struct Scored {
    truth: Vec<u16>,
    predicted: Vec<u16>,
    /// True vertebrae with enough of their body in view.
    wanted: Vec<u16>,
}

impl Scored {
    fn tally(&self) -> Tally {
        let mut both = BTreeMap::<(u16, u16), usize>::new();
        for (&t, &p) in self.truth.iter().zip(&self.predicted).filter(|(t, _)| **t != 0) {
            *both.entry((t, p)).or_default() += 1;
        }
        let size_of = |wanted: &dyn Fn((u16, u16)) -> bool| -> usize {
            both.iter().filter(|(pair, _)| wanted(**pair)).map(|(_, n)| n).sum()
        };
        // The instance with most of a vertebra, and how many voxels it has of it.
        let main = |t: u16| {
            let own = both.iter().filter(|((truth, p), _)| *truth == t && *p != 0);
            own.max_by_key(|(_, n)| **n).map_or((0, 0), |((_, p), n)| (*p, *n))
        };
        let mut tally = Tally { vertebrae: self.wanted.len(), ..Tally::default() };
        for &t in &self.wanted {
            let (instance, common) = main(t);
            let size = size_of(&|(truth, _)| truth == t);
            let union = size + size_of(&|(_, p)| p == instance) - common;
            let taken =
                both.iter().filter(|((truth, p), _)| *truth == t && *p != 0 && *p != instance);
            let taken = taken.map(|(_, n)| *n).max().unwrap_or(0);
            let shared = self.wanted.iter().any(|&other| other != t && main(other).0 == instance);
            let verdict = if 2 * common < size {
                &mut tally.missed
            } else if shared {
                &mut tally.fused
            } else if taken as f64 > MAX_TAKEN * size as f64 {
                &mut tally.split
            } else if (common as f64) < MIN_IOU * union as f64 {
                &mut tally.leaked
            } else {
                &mut tally.correct
            };
            *verdict += 1;
        }
        let instances: std::collections::BTreeSet<u16> =
            self.predicted.iter().copied().filter(|&p| p != 0).collect();
        let truths: std::collections::BTreeSet<u16> =
            self.truth.iter().copied().filter(|&t| t != 0).collect();
        let mains: Vec<u16> = truths.into_iter().map(|t| main(t).0).collect();
        tally.spurious = instances.iter().filter(|p| !mains.contains(p)).count();
        tally.spines = usize::from(tally.correct == tally.vertebrae);
        tally
    }
}

/// What was said of levels, over all bodies found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Levels {
    bodies: usize,
    /// Named rightly by the best run of levels.
    right: usize,
    /// Spines in which C2 is the uppermost body, and those of them numbered from it.
    with_c2: usize,
    from_c2: usize,
    /// Spines numbered from a C2 that is none.
    false_c2: usize,
}

impl AddAssign for Levels {
    fn add_assign(&mut self, other: Levels) {
        self.bodies += other.bodies;
        self.right += other.right;
        self.with_c2 += other.with_c2;
        self.from_c2 += other.from_c2;
        self.false_c2 += other.false_c2;
    }
}

/// What the net says of the levels of the bodies in `found`; `ids` are the true ones of every voxel of the map.
fn levels(found: &Instances, ids: &[u16], numbering: Numbering) -> Levels {
    let bodies = found.bodies.centres.len();
    let mut votes = vec![BTreeMap::<u16, usize>::new(); bodies + 1];
    for (&label, &id) in found.bodies.labels.voxels().iter().zip(ids).filter(|(_, id)| **id != 0) {
        *votes[usize::from(label)].entry(id).or_default() += 1;
    }
    let most =
        |votes: &BTreeMap<u16, usize>| votes.iter().max_by_key(|(_, n)| **n).map(|(id, _)| *id);
    let truth: Vec<Option<u16>> = votes[1..].iter().map(most).collect();
    let likely = found.levels.likely();
    let said = likely.first().map_or(&[][..], |run| &run.levels);
    let right =
        said.iter().zip(&truth).filter(|(id, truth)| Some(u16::from(id.value())) == **truth);
    let with_c2 = truth.first() == Some(&Some(u16::from(VertebraId::C2.value())));
    let from_c2 = numbering == Numbering::FromC2;
    Levels {
        bodies,
        right: right.count(),
        with_c2: usize::from(with_c2),
        from_c2: usize::from(with_c2 && from_c2),
        false_c2: usize::from(!with_c2 && from_c2),
    }
}

/// Both stages on the spine of `seed`: classical, net; and what the net says of levels.
fn spine(seed: u64, nets: &mut Nets) -> ([Tally; 2], Levels) {
    let card = nets.semantic.card().clone();
    let phantom = generate(&Recipe::for_training(seed)).unwrap();
    let class = |value| Structure::from_value(value).and_then(|s| card.class_of(s)).unwrap_or(0);
    let corrupted = corrupt(&phantom.semantic, &phantom.vertebrae, seed).map(class);
    let Some(classes) = clean::clean(&corrupted, &card) else {
        return ([Tally::default(); 2], Levels::default());
    };
    let bodies = vertebrae::find_bodies(&classes, &card);
    let instance = nets.instance.as_deref_mut().unwrap();
    let net = separate(&classes, &bodies, &card, instance).unwrap();
    let [semantic, ids] = [
        within(&phantom.semantic.map(u16::from), classes.grid()),
        within(&phantom.vertebrae, classes.grid()),
    ];
    let numbering = join::join(classes.clone(), &net, &[], &card).numbering;
    let levels = levels(&net, ids.voxels(), numbering);
    let classical = by_height(&classes, bodies, &card);
    let tallies = [classical, net].map(|found: Instances| {
        let mut tally = score(&semantic, &ids, &classes, &found, &card).tally();
        tally.disputed = usize::from(found.disputed);
        tally
    });
    (tallies, levels)
}

/// The voxels of `volume` on the box of its grid that `part` is.
fn within(volume: &Volume<u16>, part: &Grid) -> Volume<u16> {
    let first = volume.grid().affine.index(part.affine.origin()).map(|n| n.round() as usize);
    let max = std::array::from_fn(|axis| first[axis] + part.dims.counts()[axis] - 1);
    components::crop(volume, Bounds { min: first, max })
}

/// Looks every voxel of the cleaned map up in the truth on the same grid.
fn score(
    semantic: &Volume<u16>,
    ids: &Volume<u16>,
    classes: &Volume<u8>,
    found: &Instances,
    card: &pipeline::ModelCard,
) -> Scored {
    let joined = join::join(classes.clone(), found, &[], card);
    let body = card.class_of(Structure::VertebralBody).unwrap();
    let vertebral = |class: u8| {
        let structures = Structure::ALL.into_iter().filter(|s| s.is_vertebra());
        class != 0 && structures.into_iter().any(|s| card.class_of(s) == Some(class))
    };
    let voxel_ml = classes.grid().affine.spacing().iter().product::<f64>() / 1000.0;
    let mut bodies = BTreeMap::<u16, f64>::new();
    let (mut truth, mut predicted) = (Vec::new(), Vec::new());
    for (offset, &class) in classes.voxels().iter().enumerate() {
        let structure = Structure::from_value(semantic.voxels()[offset] as u8);
        let id = ids.voxels()[offset];
        let vertebra = structure.is_some_and(Structure::is_vertebra) && vertebral(class);
        if vertebra && class == body && structure == Some(Structure::VertebralBody) {
            *bodies.entry(id).or_default() += voxel_ml;
        }
        truth.push(if vertebra { id } else { 0 });
        let instance = joined.instances.voxels()[offset];
        predicted.push(if (1..=25).contains(&instance) { instance } else { 0 });
    }
    let wanted = bodies.into_iter().filter(|(_, ml)| *ml >= MIN_TRUE_BODY_ML).map(|(id, _)| id);
    Scored { truth, predicted, wanted: wanted.collect() }
}

/// Both stages over `count` spines, the nets in this form.
fn spines(count: u64, form: Form) -> ([Tally; 2], Levels) {
    let weights = Forms::of(Shipped::embedded_in(form).unwrap());
    let threads = kernels::threads::available();
    let (mut nets, _) = start(&weights, EngineChoice::Auto, threads).unwrap();
    let (mut sums, mut named) = ([Tally::default(); 2], Levels::default());
    for seed in FIRST_SEED..FIRST_SEED + count {
        let (found, levels) = spine(seed, &mut nets);
        named += levels;
        sums[0] += found[0];
        sums[1] += found[1];
        if found[1].spines == 0 {
            println!("seed {seed}: {:?}", found[1]);
        }
    }
    let [classical, net] = sums;
    println!("{count} spines, {form:?}");
    println!("{count} spines, classical stage: {classical:?}, {:.4} correct", classical.share());
    println!("{count} spines, instance net:    {net:?}, {:.4} correct", net.share());
    println!("{count} spines, levels: {named:?}");
    (sums, named)
}

#[test]
fn vertebrae_of_corrupted_masks_are_told_apart() {
    for form in [Form::Float, Form::Int8] {
        let ([classical, net], _) = spines(20, form);
        assert!(net.vertebrae >= 150, "{net:?}");
        assert!(net.correct >= classical.correct, "{net:?} {classical:?}");
        assert!(net.share() >= 0.98, "{net:?}");
    }
}

#[test]
#[ignore = "five minutes: tests/run --full"]
fn of_two_hundred_spines_99_in_100_vertebrae_are_told_apart() {
    for form in [Form::Float, Form::Int8] {
        let ([classical, net], levels) = spines(200, form);
        assert!(net.share() >= 0.99 && net.correct > classical.correct, "{net:?} {classical:?}");
        assert_eq!(levels.false_c2, 0, "{levels:?}");
    }
}

#[test]
fn every_way_to_be_wrong_is_counted() {
    let scored = |truth: &[u16], predicted: &[u16]| {
        let wanted = truth.iter().copied().collect::<std::collections::BTreeSet<u16>>();
        let wanted = wanted.into_iter().filter(|&t| t != 0).collect();
        Scored { truth: truth.to_vec(), predicted: predicted.to_vec(), wanted }.tally()
    };
    let truth = [[1; 10], [2; 10]].concat();
    let tally = scored(&truth, &[[5; 10], [6; 10]].concat());
    assert_eq!((tally.correct, tally.spines, tally.spurious), (2, 1, 0));
    let tally = scored(&truth, &[5; 20]);
    assert_eq!((tally.fused, tally.correct, tally.spines), (2, 0, 0));
    let tally = scored(&truth, &[[5; 10], [0; 10]].concat());
    assert_eq!((tally.correct, tally.missed), (1, 1));
    let tally = scored(&truth, &[[5; 10].as_slice(), &[6; 8], &[7; 2]].concat());
    assert_eq!((tally.correct, tally.split, tally.spurious), (1, 1, 1));
    let tally = scored(&truth, &[[5; 10].as_slice(), &[6; 7], &[0; 3]].concat());
    assert_eq!((tally.correct, tally.leaked), (1, 1));
}
