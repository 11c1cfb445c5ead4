//! Three predictions of every vertebra -> one: pairing by shared body, then votes.
//!
//! All of it counts voxels and sorts by place: the order of the cutouts changes nothing.

use super::{ABOVE, Answer, BELOW, Bone, CENTRE};
use crate::course::Course;
use crate::result::Support;
use crate::vertebrae::MAX_BODIES;
use kernels::votes::{self, Ballot, CLASSES, NOBODY};

/// Two predictions whose bodies share this part of the smaller one are of one vertebra.
const SAME_BODY_SHARE: f64 = 0.5;
/// A body this near to where the net was asked already is not asked for again: less than half the height of C4.
const ASKED_MM: f64 = 5.0;
/// A body of more than this many times the smaller one beside it may be two: neighbours differ by a fifth, wedged or cut
/// ones by more, and asking costs only time.
const TWO_BODIES: f64 = 1.5;
/// Votes of a cutout for the vertebra above, in the centre and below: two neighbours outvote the centre, one does not.
const VOTES: [u32; CLASSES] = [2, 3, 2];

/// Whose a voxel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// From 1, top to bottom.
    Vertebra(u16),
    /// A vertebra that shows no body.
    OutOfView,
    /// No cutout gave it to a vertebra.
    Nobody,
}

impl Owner {
    /// The vertebra's label; 0 of none.
    pub(super) fn label(self) -> u16 {
        match self {
            Owner::Vertebra(label) => label,
            Owner::OutOfView | Owner::Nobody => 0,
        }
    }
}

/// Where to ask next: at bodies above or below that no cutout has in its centre, and at both halves of bodies so large that
/// they may be two.
pub(super) fn missed(bone: &Bone, answers: &[Answer]) -> Vec<[f64; 3]> {
    let mut found: Vec<[f64; 3]> = Vec::new();
    let whole = answers.iter().filter(|answer| answer.body(CENTRE) >= bone.min_body);
    for answer in whole {
        let beside = [ABOVE, BELOW].into_iter().filter(|&part| answer.body(part) >= bone.min_body);
        let mut wanted: Vec<[f64; 3]> =
            beside.map(|part| answer.centres[usize::from(part - ABOVE)]).collect();
        if answer.body(CENTRE) as f64 > TWO_BODIES * answer.smaller_neighbour(bone) {
            wanted.extend(halves(bone, answer));
        }
        for centre in wanted {
            let near = |asked: [f64; 3]| distance_mm(bone, asked, centre) <= ASKED_MM;
            if !answers.iter().any(|other| near(other.asked)) && !found.iter().any(|&at| near(at)) {
                found.push(centre);
            }
        }
    }
    found
}

/// Centres of the upper and the lower half of the body in the centre of an answer.
fn halves(bone: &Bone, answer: &Answer) -> impl Iterator<Item = [f64; 3]> {
    let middle = answer.centres[1][1];
    let mut sums = [([0.0; 3], 0.0); 2];
    for (voxel, &said) in bone.voxels.iter().zip(&answer.said) {
        if voxel.body && said == CENTRE {
            let (sum, count) = &mut sums[usize::from(voxel.index[1] as f64 > middle)];
            *sum = [0, 1, 2].map(|axis| sum[axis] + voxel.index[axis] as f64);
            *count += 1.0;
        }
    }
    sums.into_iter().filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum.map(|s| s / count))
}

/// What the cutouts together say.
pub(super) struct Fused {
    /// Of every voxel of the bone; every label from 1 to the highest has a body.
    pub(super) owners: Vec<Owner>,
    /// For each label what its cutout says of the level.
    pub(super) levels: Vec<Vec<f64>>,
    /// For each label how far the cutouts agree.
    pub(super) support: Vec<Support>,
}

/// Joins the answers.
pub(super) fn fuse(bone: &Bone, answers: Vec<Answer>, course: &Course) -> Fused {
    let mut chosen = choose(bone, answers, course);
    loop {
        let owners = vote(bone, &chosen);
        let mut bodies = vec![0; chosen.len() + 1];
        for (_, owner) in bone.voxels.iter().zip(&owners).filter(|(voxel, _)| voxel.body) {
            bodies[usize::from(owner.label())] += 1;
        }
        let before = chosen.len();
        let mut sizes = bodies[1..].iter();
        chosen.retain(|_| sizes.next().is_some_and(|&voxels| voxels >= bone.min_body));
        if chosen.len() == before {
            let support = (0..chosen.len()).map(|n| support(&chosen, n)).collect();
            let levels = chosen.into_iter().map(|answer| answer.levels).collect();
            return Fused { owners, levels, support };
        }
    }
}

/// One answer a vertebra, top to bottom: of several about the same body, the one with which other cutouts agree most.
fn choose(bone: &Bone, mut answers: Vec<Answer>, course: &Course) -> Vec<Answer> {
    answers.retain(|answer| answer.body(CENTRE) >= bone.min_body);
    let mut single =
        (0..answers.len()).map(|n| !holds_two(&answers, n)).collect::<Vec<_>>().into_iter();
    answers.retain(|_| single.next().unwrap_or(false));
    let mut ranked: Vec<(f64, Answer)> = Vec::with_capacity(answers.len());
    let ranks: Vec<f64> = (0..answers.len()).map(|n| support(&answers, n).agreement).collect();
    ranked.extend(ranks.into_iter().zip(answers));
    ranked.sort_by(|(a, one), (b, other)| {
        b.total_cmp(a).then_with(|| one.asked[1].total_cmp(&other.asked[1]))
    });
    let mut chosen: Vec<Answer> = Vec::new();
    for (_, answer) in ranked {
        if !chosen.iter().any(|other| same((&answer, CENTRE), (other, CENTRE))) {
            chosen.push(answer);
        }
    }
    let place = |answer: &Answer| course.place(answer.centres[1]);
    chosen.sort_by(|a, b| place(a).total_cmp(&place(b)));
    chosen.truncate(MAX_BODIES);
    chosen
}

/// Whether answer `n` takes two bodies for one: two others, with nothing in common, have each a part of it in their centre.
fn holds_two(answers: &[Answer], n: usize) -> bool {
    let centre = |other: usize| (&answers[other], CENTRE);
    let parts: Vec<usize> = (0..answers.len())
        .filter(|&other| answers[other].body(CENTRE) < answers[n].body(CENTRE))
        .filter(|&other| same(centre(n), centre(other)))
        .collect();
    let apart = |&a: &usize| parts.iter().any(|&b| !same(centre(a), centre(b)));
    parts.iter().any(apart)
}

/// How far the other answers agree with the body in the centre of answer `n`.
fn support(answers: &[Answer], n: usize) -> Support {
    let own = (&answers[n], CENTRE);
    let (mut sum, mut count) = (0.0, 0);
    for (_, other) in answers.iter().enumerate().filter(|(other, _)| *other != n) {
        for part in [ABOVE, CENTRE, BELOW] {
            if same(own, (other, part)) {
                let sizes = own.0.body(CENTRE) + other.body(part);
                sum += 2.0 * shared(own, (other, part)) as f64 / sizes as f64;
                count += 1;
            }
        }
    }
    let agreement = if count > 0 { sum / f64::from(count) } else { 0.0 };
    Support { votes: 1 + count as usize, agreement }
}

/// Counts the votes of every voxel; of equal ones the upper vertebra has it.
fn vote(bone: &Bone, chosen: &[Answer]) -> Vec<Owner> {
    // The last place is for vertebrae out of view.
    let out_of_view = chosen.len() as u16;
    let names: Vec<[u16; CLASSES]> = (0..chosen.len())
        .map(|n| {
            let other = |part: u8| partner(chosen, n, part);
            let name = |part: u8| other(part).map_or(out_of_view, |other| other as u16);
            [name(ABOVE), n as u16, name(BELOW)]
        })
        .collect();
    let said: Vec<&[u8]> = chosen.iter().map(|answer| answer.said.as_slice()).collect();
    let mut owners = vec![NOBODY; bone.voxels.len()];
    votes::elect(&Ballot { said: &said, names: &names, weights: VOTES }, &mut owners);
    let owner = |name: u16| match name {
        NOBODY => Owner::Nobody,
        _ if name == out_of_view => Owner::OutOfView,
        _ => Owner::Vertebra(name + 1),
    };
    owners.into_iter().map(owner).collect()
}

/// Which of the other vertebrae `part` of answer `n` is: the one with which it shares most of its body.
fn partner(chosen: &[Answer], n: usize, part: u8) -> Option<usize> {
    let others = (0..chosen.len()).filter(|&other| other != n);
    let same = others.filter(|&other| same((&chosen[n], part), (&chosen[other], CENTRE)));
    same.max_by_key(|&other| {
        (shared((&chosen[n], part), (&chosen[other], CENTRE)), usize::MAX - other)
    })
}

/// Body voxels that both predictions have.
fn shared(a: (&Answer, u8), b: (&Answer, u8)) -> usize {
    a.0.set(a.1).shared(b.0.set(b.1))
}

/// Whether two predictions are of one vertebra.
fn same(a: (&Answer, u8), b: (&Answer, u8)) -> bool {
    let smaller = a.0.body(a.1).min(b.0.body(b.1));
    smaller > 0 && shared(a, b) as f64 >= SAME_BODY_SHARE * smaller as f64
}

fn distance_mm(bone: &Bone, a: [f64; 3], b: [f64; 3]) -> f64 {
    let square = |axis: usize| ((a[axis] - b[axis]) * bone.spacing[axis]).powi(2);
    (square(0) + square(1) + square(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::{OTHER, Said, Voxel};
    use super::*;
    use kernels::{Affine, Dims, Grid};

    /// A column of `count` bodies of `size` voxels, a millimetre apart; one posterior voxel each at the end.
    fn column(count: usize, size: usize) -> Bone {
        let body = (0..count * size).map(|j| (j, true));
        let rear = (0..count).map(|n| (n * size, false));
        let voxels = body
            .chain(rear)
            .enumerate()
            .map(|(offset, (j, body))| Voxel { offset, index: [0, j, 0], body })
            .collect();
        Bone { voxels, spacing: [1.0; 3], min_body: 5 }
    }

    /// What a faultless net says around row `j`.
    fn answer(bone: &Bone, size: usize, j: usize) -> Answer {
        let this = j / size;
        let said = bone.voxels.iter().map(|voxel| {
            match (voxel.index[1] / size) as isize - this as isize {
                -1 => ABOVE,
                0 => CENTRE,
                1 => BELOW,
                _ => OTHER,
            }
        });
        let said = Said { classes: said.collect(), levels: vec![j as f64] };
        Answer::new(bone, [0.0, j as f64, 0.0], said)
    }

    /// A spine in order of height.
    fn upright() -> Course {
        let affine = Affine::new([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]);
        let dims = Dims::new([1, 1, 1]).unwrap();
        Course::by_height(&Grid { dims, affine: affine.unwrap() })
    }

    fn labels(bone: &Bone, answers: Vec<Answer>) -> Vec<u16> {
        fuse(bone, answers, &upright()).owners.into_iter().map(Owner::label).collect()
    }

    #[test]
    fn the_order_of_the_cutouts_changes_nothing_and_one_body_asked_twice_is_one() {
        let bone = column(4, 10);
        let rows = [5, 15, 17, 25, 35];
        let want: Vec<u16> =
            bone.voxels.iter().map(|voxel| (voxel.index[1] / 10) as u16 + 1).collect();
        for turn in 0..rows.len() {
            let mut order = rows;
            order.rotate_left(turn);
            let answers = order.iter().map(|&j| answer(&bone, 10, j)).collect();
            assert_eq!(labels(&bone, answers), want, "{order:?}");
        }
    }

    #[test]
    fn a_body_that_only_its_neighbours_saw_is_asked_for_once() {
        let bone = column(4, 20);
        let answers = [10, 30].map(|j| answer(&bone, 20, j));
        assert_eq!(missed(&bone, &answers), [[0.0, 49.5, 0.0]]);
        let answers = [10, 30, 50].map(|j| answer(&bone, 20, j));
        assert_eq!(missed(&bone, &answers), [[0.0, 69.5, 0.0]]);
        let answers = [10, 50].map(|j| answer(&bone, 20, j));
        assert_eq!(missed(&bone, &answers), [[0.0, 29.5, 0.0], [0.0, 69.5, 0.0]]);
        let answers = [10, 30, 50, 70].map(|j| answer(&bone, 20, j));
        assert!(missed(&bone, &answers).is_empty());
    }

    /// The classical stage put one cutout on two bodies joined through a lost disc, and the net took both for one.
    #[test]
    fn two_bodies_taken_for_one_are_parted_by_what_the_neighbours_say() {
        let bone = column(4, 20);
        let mut both = answer(&bone, 20, 30);
        let said = both.said.iter().zip(&bone.voxels).map(|(_, voxel)| match voxel.index[1] / 20 {
            0 => ABOVE,
            1 | 2 => CENTRE,
            _ => BELOW,
        });
        let said = Said { classes: said.collect(), levels: Vec::new() };
        both = Answer::new(&bone, [0.0, 39.5, 0.0], said);
        let mut answers = vec![answer(&bone, 20, 10), both, answer(&bone, 20, 70)];
        let centres = missed(&bone, &answers);
        assert_eq!(centres, [[0.0, 29.5, 0.0], [0.0, 49.5, 0.0]]);
        answers.extend([29, 49].map(|j| answer(&bone, 20, j)));
        let want: Vec<u16> =
            bone.voxels.iter().map(|voxel| (voxel.index[1] / 20) as u16 + 1).collect();
        assert_eq!(labels(&bone, answers), want);
    }

    #[test]
    fn two_neighbours_outvote_the_centre_and_one_does_not() {
        let bone = column(3, 10);
        let mut answers: Vec<Answer> = [5, 15, 25].map(|j| answer(&bone, 10, j)).into();
        // The middle cutout gives a voxel of its own vertebra to the one above; both neighbours know better.
        answers[1].said[15] = ABOVE;
        // The upper one gives a voxel of the middle to itself, against the middle and the lower one.
        answers[0].said[12] = CENTRE;
        let found = labels(&bone, answers);
        assert_eq!((found[15], found[12]), (2, 2));
        let mut answers: Vec<Answer> = [5, 15].map(|j| answer(&bone, 10, j)).into();
        answers[0].said[12] = OTHER;
        answers[1].said[8] = CENTRE;
        let found = labels(&bone, answers);
        assert_eq!((found[12], found[8]), (2, 1));
    }

    #[test]
    fn parts_of_a_vertebra_without_a_body_are_out_of_view() {
        let mut bone = column(3, 10);
        bone.voxels.retain(|voxel| !voxel.body || voxel.index[1] >= 10);
        let Fused { owners, levels, support } =
            fuse(&bone, [15, 25].map(|j| answer(&bone, 10, j)).into(), &upright());
        let rear = owners.len() - 3;
        let want = [Owner::OutOfView, Owner::Vertebra(1), Owner::Vertebra(2)];
        assert_eq!(owners[rear..], want);
        assert_eq!(levels, [[15.0], [25.0]]);
        assert_eq!(support, [Support { votes: 2, agreement: 1.0 }; 2]);
    }
}
