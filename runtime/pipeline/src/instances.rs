//! Class map -> vertebrae: the instance stage.
//!
//! A cutout around each body goes through the instance net, which says for every voxel of bone: the vertebra above, the
//! one in the centre, the one below, or another. So every vertebra is predicted up to three times; predictions that share
//! their body are one vertebra, and votes are counted voxel by voxel (`fusion`). What nobody voted for goes by the rules
//! of the classical stage ([`crate::vertebrae`], [`crate::posterior`]), which is also the cross-check: where the two
//! disagree, the result is flagged.

mod fusion;

use crate::card::{Class, InstanceCard, ModelCard};
use crate::cutout::{self, Cutout};
use crate::labels::Structure;
use crate::net::{Net, NetError, TensorMut, TensorRef};
use crate::numbering::LevelEvidence;
use crate::posterior;
use crate::result::Support;
use crate::stages::InstanceStage;
use crate::vertebrae::{Bodies, MAX_BODIES, MIN_BODY_ML};
use fusion::{Fused, Owner};
use kernels::bits::Bits;
use kernels::components::Bounds;
use kernels::one_hot::Channels;
use kernels::{Volume, answers};

/// Cutouts in flight, one a core of the smallest box.
const BATCH: usize = 2;
/// Most cutouts of one series: each body, and as often again for bodies found beside others.
const MAX_CUTOUTS: usize = 2 * MAX_BODIES;
/// From this share of differing voxels on, net and classical stage disagree: more than the edges between touching parts.
const DISPUTED_SHARE: f64 = 0.1;

/// What the net says of a voxel, in the order of its output classes.
const OTHER: u8 = 0;
const ABOVE: u8 = 1;
const CENTRE: u8 = 2;
const BELOW: u8 = 3;

/// Which vertebra every voxel of bone belongs to.
#[derive(Debug)]
pub struct Instances {
    pub bodies: Bodies,
    /// Label in `bodies` of every voxel of a vertebra; 0 elsewhere, and where the vertebra's body is out of view.
    pub owners: Volume<u16>,
    /// What the net says of the bodies' levels.
    pub levels: LevelEvidence,
    /// How far the net's cutouts agree on each body; none where the classical stage decided alone.
    pub support: Vec<Support>,
    /// Net and classical stage disagree in the count of vertebrae or in many voxels.
    pub disputed: bool,
}

/// One voxel of a vertebra.
#[derive(Debug, Clone, Copy)]
pub struct Voxel {
    pub offset: usize,
    pub index: [usize; 3],
    pub body: bool,
}

/// What cutouts are made of, and the voxels of which answers are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    pub classes: &'a Volume<u8>,
    /// In which channel of the net a class is shown.
    pub channels: &'a Channels,
    pub voxels: &'a [Voxel],
}

/// What the net says in one cutout.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Of each voxel of the scene: 0 another vertebra or none, and beyond the cutout; 1 the vertebra above, 2 the one in the
    /// centre, 3 the one below.
    pub classes: Vec<u8>,
    /// The probability of each of the net's levels for the vertebra in the centre.
    pub levels: Vec<f64>,
}

/// All voxels of vertebrae in a class map.
#[derive(Debug)]
struct Bone {
    voxels: Vec<Voxel>,
    spacing: [f64; 3],
    /// Fewer voxels are no body.
    min_body: usize,
}

impl Bone {
    fn of(classes: &Volume<u8>, card: &ModelCard) -> Bone {
        let vertebral: Vec<bool> = card
            .classes
            .iter()
            .map(|class| match *class {
                Class::Background => false,
                Class::Single(structure) | Class::Paired(structure, _) => structure.is_vertebra(),
            })
            .collect();
        let body = card.class_of(Structure::VertebralBody);
        let dims = classes.dims();
        let values = classes.voxels().iter().enumerate();
        let voxels = values
            .filter(|&(_, &class)| vertebral[usize::from(class)])
            .map(|(offset, &class)| Voxel {
                offset,
                index: dims.index(offset),
                body: Some(class) == body,
            })
            .collect();
        let spacing = classes.grid().affine.spacing();
        let min_body = (MIN_BODY_ML * 1000.0 / spacing.iter().product::<f64>()).ceil() as usize;
        Bone { voxels, spacing, min_body: min_body.max(1) }
    }
}

/// What the net says in one cutout.
#[derive(Debug)]
struct Answer {
    /// Centre of the cutout, voxels.
    asked: [f64; 3],
    /// For each voxel of the bone; [`OTHER`] beyond the cutout.
    said: Vec<u8>,
    /// Body voxels of [`ABOVE`], [`CENTRE`], [`BELOW`], and their centre of mass.
    bodies: [usize; 3],
    centres: [[f64; 3]; 3],
    /// The same body voxels by their places among the voxels of the bone: every two predictions are compared, most of them
    /// several times.
    sets: [Bits; 3],
    /// The probability of each level for the vertebra in the centre.
    levels: Vec<f64>,
}

impl Answer {
    fn new(bone: &Bone, asked: [f64; 3], Said { classes: said, levels }: Said) -> Answer {
        let (mut bodies, mut sums) = ([0; 3], [[0.0; 3]; 3]);
        for (voxel, &part) in bone.voxels.iter().zip(&said) {
            if voxel.body && part != OTHER {
                let part = usize::from(part - ABOVE);
                bodies[part] += 1;
                sums[part] = [0, 1, 2].map(|axis| sums[part][axis] + voxel.index[axis] as f64);
            }
        }
        let centres = [0, 1, 2].map(|part| sums[part].map(|sum| sum / bodies[part] as f64));
        Answer { asked, bodies, centres, sets: body_sets(bone, &said), said, levels }
    }

    /// Body voxels of the smaller one of the vertebrae above and below, where one is in view whole enough to compare.
    fn smaller_neighbour(&self, bone: &Bone) -> f64 {
        let beside = [ABOVE, BELOW].map(|part| self.body(part));
        let whole = beside.into_iter().filter(|&body| body >= bone.min_body);
        whole.min().map_or(f64::INFINITY, |body| body as f64)
    }

    /// Body voxels of `part`.
    fn body(&self, part: u8) -> usize {
        self.bodies[usize::from(part - ABOVE)]
    }

    fn set(&self, part: u8) -> &Bits {
        &self.sets[usize::from(part - ABOVE)]
    }
}

/// The body voxels of [`ABOVE`], [`CENTRE`] and [`BELOW`] as a line of bits, in the order of the bone.
fn body_sets(bone: &Bone, said: &[u8]) -> [Bits; 3] {
    let of_bodies = bone.voxels.iter().zip(said);
    let of_bodies: Vec<u8> =
        of_bodies.map(|(voxel, &part)| if voxel.body { part } else { OTHER }).collect();
    let last = of_bodies.len().saturating_sub(1);
    Bits::of_classes(Bounds { min: [0; 3], max: [last, 0, 0] }, std::iter::once(&of_bodies[..]))
}

/// The classical stage alone: parts go to the vertebra whose height they have.
pub fn by_height(classes: &Volume<u8>, bodies: Bodies, semantic: &ModelCard) -> Instances {
    let owners = posterior::assign(classes, &bodies, semantic);
    Instances {
        bodies,
        owners,
        levels: LevelEvidence::default(),
        support: Vec::new(),
        disputed: false,
    }
}

/// The net's vertebrae of `classes`; `classical` says where to look first.
///
/// # Errors
/// [`NetError`] when the engine fails.
pub fn separate(
    classes: &Volume<u8>,
    classical: &Bodies,
    semantic: &ModelCard,
    net: &mut dyn InstanceStage,
) -> Result<Instances, NetError> {
    let bone = Bone::of(classes, semantic);
    let channels = cutout::channels(semantic, net.card());
    let scene = Scene { classes, channels: &channels, voxels: &bone.voxels };
    let mut answers = Vec::new();
    let mut centres = classical.centres.clone();
    while !centres.is_empty() {
        let said = net.ask(&scene, &centres)?.into_iter().zip(&centres);
        answers.extend(said.map(|(said, &centre)| Answer::new(&bone, centre, said)));
        centres = fusion::missed(&bone, &answers);
        centres.truncate(MAX_CUTOUTS.saturating_sub(answers.len()));
    }
    let Fused { owners, levels: rows, support } = fusion::fuse(&bone, answers, &classical.course);
    let bodies = bodies(classes, &bone, &owners, classical);
    let mut found = by_height(classes, bodies, semantic);
    found.levels = LevelEvidence { levels: net.card().levels.clone(), rows };
    found.support = support;
    for (voxel, owner) in bone.voxels.iter().zip(&owners) {
        match *owner {
            Owner::Vertebra(label) => found.owners.voxels_mut()[voxel.offset] = label,
            Owner::OutOfView => found.owners.voxels_mut()[voxel.offset] = 0,
            Owner::Nobody => {}
        }
    }
    let by_rules = posterior::assign(classes, classical, semantic);
    let differs =
        |voxel: &&Voxel| by_rules.voxels()[voxel.offset] != found.owners.voxels()[voxel.offset];
    let differing = bone.voxels.iter().filter(differs).count();
    found.disputed = classical.centres.len() != found.bodies.centres.len()
        || differing as f64 > DISPUTED_SHARE * bone.voxels.len() as f64;
    Ok(found)
}

/// Runs a cutout around each of `centres`, from the host.
///
/// # Errors
/// [`NetError`] when the engine fails.
pub fn ask<N: Net<InstanceCard> + ?Sized>(
    scene: &Scene<'_>,
    centres: &[[f64; 3]],
    net: &mut N,
) -> Result<Vec<Said>, NetError> {
    let (card, grid) = (net.card(), scene.classes.grid());
    let (window, layout) = (card.window, cutout::answers(card));
    let (inputs, outputs) = (card.input_channels(), card.output_channels());
    let ([columns, rows, _], plane) = (window.counts, layout.plane());
    let middle = cutout::middle(&window);
    let mut input = vec![0.0; BATCH * inputs * plane];
    let mut logits = vec![0.0; BATCH * outputs * plane];
    let mut all = Vec::with_capacity(centres.len());
    for batch in centres.chunks(BATCH) {
        let n = batch.len();
        let cutouts: Vec<Cutout> =
            batch.iter().map(|&centre| Cutout::new(&window, grid, centre)).collect();
        for (cutout, input) in cutouts.iter().zip(input.chunks_exact_mut(inputs * plane)) {
            cutout.encode(scene.classes, scene.channels, input);
        }
        net.run(
            TensorRef { shape: [n, inputs, rows, columns], values: &input[..n * inputs * plane] },
            TensorMut {
                shape: [n, outputs, rows, columns],
                values: &mut logits[..n * outputs * plane],
            },
        )?;
        for (cutout, logits) in cutouts.iter().zip(logits.chunks_exact(outputs * plane)) {
            let voxels = scene.voxels.iter().map(|voxel| voxel.index);
            let classes = answers::said(logits, &layout, cutout.nearest(), voxels);
            let levels = cutout::probabilities(&answers::means(logits, &layout, &middle));
            all.push(Said { classes, levels });
        }
    }
    Ok(all)
}

/// The bodies that the votes give. Holes, and body voxels without a vote, go with the most votes in their classical body; a
/// classical body below the lowest vertebra that got none is of the sacrum, and so is what the classical stage called so,
/// where the net has no vertebra.
fn bodies(classes: &Volume<u8>, bone: &Bone, owners: &[Owner], classical: &Bodies) -> Bodies {
    let count = owners.iter().map(|owner| owner.label()).max().unwrap_or(0);
    let mut labels: Volume<u16> = Volume::filled(*classes.grid(), 0);
    let mut votes = vec![vec![0usize; usize::from(count) + 1]; classical.centres.len() + 1];
    for (voxel, owner) in bone.voxels.iter().zip(owners).filter(|(voxel, _)| voxel.body) {
        labels.voxels_mut()[voxel.offset] = owner.label();
        let hill = classical.labels.voxels()[voxel.offset];
        votes[usize::from(hill)][usize::from(owner.label())] += 1;
    }
    let most = |votes: &Vec<usize>| {
        let voted = votes.iter().enumerate().skip(1).filter(|(_, n)| **n > 0);
        voted
            .max_by_key(|&(label, n)| (*n, usize::MAX - label))
            .map_or(0, |(label, _)| label as u16)
    };
    let heirs: Vec<u16> = votes.iter().map(most).collect();
    let mut sacral = classical.sacral.clone();
    sacral.retain(|&offset| labels.voxels()[offset] == 0);
    let lowest = (1..heirs.len()).rev().find(|&hill| heirs[hill] != 0).unwrap_or(0);
    for (offset, &hill) in classical.labels.voxels().iter().enumerate().filter(|(_, h)| **h != 0) {
        let label = &mut labels.voxels_mut()[offset];
        if *label == 0 {
            *label = heirs[usize::from(hill)];
            if *label == 0 && usize::from(hill) > lowest {
                sacral.push(offset);
            }
        }
    }
    let mut sums = vec![([0.0; 3], 0.0); usize::from(count)];
    for (offset, &label) in labels.voxels().iter().enumerate().filter(|(_, label)| **label != 0) {
        let (sum, voxels) = &mut sums[usize::from(label) - 1];
        let index = classes.dims().index(offset);
        *sum = [0, 1, 2].map(|axis| sum[axis] + index[axis] as f64);
        *voxels += 1.0;
    }
    let centres = sums.into_iter().map(|(sum, voxels)| sum.map(|s| s / voxels)).collect();
    Bodies { labels, centres, sacral, course: classical.course.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::Course;
    use kernels::{Affine, Dims, Grid};

    /// The classical stage took L5, which touches the sacrum, for a part of it; the net knew better, and L5 became sacrum.
    #[test]
    fn a_body_of_the_net_is_no_sacrum_whatever_the_classical_stage_says() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([1, 9, 1]).unwrap(), affine };
        let classes = Volume::filled(grid, 1u8);
        let voxels = (0..9).map(|j| Voxel { offset: j, index: [0, j, 0], body: true }).collect();
        let bone = Bone { voxels, spacing: [1.0; 3], min_body: 1 };
        let hills = Volume::new(grid, vec![1, 1, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let classical = Bodies {
            labels: hills,
            centres: vec![[0.0, 1.0, 0.0]],
            sacral: (3..9).collect(),
            course: Course::by_height(&grid),
        };
        let owner =
            |j: usize| if j < 6 { Owner::Vertebra(1 + j as u16 / 3) } else { Owner::Nobody };
        let owners: Vec<Owner> = (0..9).map(owner).collect();
        let found = bodies(&classes, &bone, &owners, &classical);
        assert_eq!(found.labels.voxels(), [1, 1, 1, 2, 2, 2, 0, 0, 0]);
        assert_eq!(found.sacral, [6, 7, 8]);
    }
}
