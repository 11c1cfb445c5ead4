//! What the instance net says of every vertebra in several cutouts -> one mask of vertebrae.
//!
//! The classes of the net are not trusted: whatever is told apart in a cutout is a candidate, candidates of neighbouring
//! cutouts that overlap are one vertebra, and voxels go by votes. Sets of bits stand for the candidates, so that comparing
//! two costs a few microseconds and no copy of the volume is made.

use super::ended::Ended;
use kernels::bits::Bits;
use kernels::components::{self, Bounds, Connectivity, crop};
use kernels::threads::{available, parallel_map};
use kernels::{Grid, Volume, fill};

/// Classes of the net besides the background: vertebra above, in the centre, below.
pub const CLASSES: usize = 3;
/// Cutouts so many places away may show the same vertebra.
const REACH: usize = 2;
/// Candidates whose Dice is not above are of different vertebrae.
const MIN_DICE: f64 = 0.3;
/// By how much more two must agree for each member that a couple lacks of four, so that two votes are asked for.
const DICE_PER_MEMBER: f64 = 0.15;
/// A couple of which more is taken already is a vertebra that is there already.
const MAX_TAKEN: f64 = 0.6;
/// Smallest component of a vertebra: 250 voxels of the nets' grid, mm³.
const MIN_COMPONENT_MM3: f64 = 250.0 * 0.928_125;

/// One class of one cutout, if it is there at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub cutout: usize,
    /// From 0.
    pub class: usize,
    voxels: Bits,
    count: usize,
}

/// The candidates of a cutout: `rows` are the net's classes of the block at `place`, in the order of memory.
pub fn candidates<'a>(
    cutout: usize,
    place: Bounds,
    rows: impl Iterator<Item = &'a [u8]>,
) -> Vec<Candidate> {
    let sets: [Bits; CLASSES] = Bits::of_classes(place, rows);
    let candidates = sets.into_iter().enumerate().map(|(class, voxels)| {
        let count = voxels.count();
        Candidate { cutout, class, voxels, count }
    });
    candidates.filter(|candidate| candidate.count > 0).collect()
}

/// Candidates that are one vertebra.
#[derive(Debug, Clone, PartialEq)]
pub struct Couple {
    /// Places in the list of candidates, by cutout.
    pub members: Vec<usize>,
    /// Mean Dice of the members.
    pub agreement: f64,
}

/// One partner of a candidate.
#[derive(Debug, Clone, Copy)]
struct Partner {
    place: usize,
    dice: f64,
}

/// Couples, the surest first; of equal ones that which was found first. `candidates` must be in the order of their cutouts.
pub fn couples(candidates: &[Candidate]) -> Vec<Couple> {
    let mut found: Vec<(Vec<usize>, Vec<f64>)> = Vec::new();
    for (anchor, partners) in partners(candidates).iter().enumerate() {
        let (members, agreement) = couple(candidates, anchor, partners);
        match found.iter_mut().find(|(known, _)| *known == members) {
            Some((_, agreements)) => agreements.push(agreement),
            None => found.push((members, vec![agreement])),
        }
    }
    let couple = |(members, agreements): (Vec<usize>, Vec<f64>)| {
        let agreement = agreements.iter().sum::<f64>() / agreements.len() as f64;
        Couple { members, agreement }
    };
    let mut couples: Vec<Couple> = found.into_iter().map(couple).collect();
    let rank = |couple: &Couple| (couple.members.len() + 1) as f64 * couple.agreement;
    couples.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    couples
}

/// For every candidate those of neighbouring cutouts, in order, with their Dice.
fn partners(candidates: &[Candidate]) -> Vec<Vec<Partner>> {
    let mut partners = vec![Vec::new(); candidates.len()];
    for (place, candidate) in candidates.iter().enumerate() {
        let near = candidates[..place].iter().enumerate().filter(|(_, other)| {
            (1..=REACH).contains(&candidate.cutout.saturating_sub(other.cutout))
        });
        for (other, before) in near {
            let dice = dice(candidate, before);
            partners[place].push(Partner { place: other, dice });
            partners[other].push(Partner { place, dice });
        }
    }
    partners
}

fn dice(a: &Candidate, b: &Candidate) -> f64 {
    2.0 * a.voxels.shared(&b.voxels) as f64 / (a.count + b.count) as f64
}

/// The two best partners of a candidate, or the best where the other contradicts it, with the candidate itself; and how well
/// they agree with it.
fn couple(candidates: &[Candidate], anchor: usize, partners: &[Partner]) -> (Vec<usize>, f64) {
    let mut best: Vec<Partner> = partners.iter().copied().filter(|p| p.dice > MIN_DICE).collect();
    // Stable: of equal ones the first stays first.
    best.sort_by(|a, b| b.dice.total_cmp(&a.dice));
    best.truncate(2);
    if let [one, other] = best[..]
        && dice(&candidates[one.place], &candidates[other.place]) < MIN_DICE
    {
        best.truncate(1);
    }
    let sum: f64 = best.iter().map(|partner| partner.dice).sum();
    let agreement = if best.is_empty() { 0.0 } else { sum / best.len() as f64 };
    let mut members: Vec<usize> = best.iter().map(|partner| partner.place).collect();
    members.push(anchor);
    members.sort_by_key(|&member| candidates[member].cutout);
    (members, agreement)
}

/// Gives voxels to vertebrae, the surest couple first: ids from 1 in that order. Without a candidate there is none.
pub fn fuse(grid: Grid, candidates: &[Candidate], couples: &[Couple]) -> Result<Fused, Ended> {
    let mut fused = Fused { ids: Volume::filled(grid, 0), boxes: Vec::new() };
    let mut taken = Bits::room(grid.dims.counts());
    for couple in couples {
        let sets: Vec<&Bits> =
            couple.members.iter().map(|&member| &candidates[member].voxels).collect();
        let [once, twice] = Bits::votes(&sets);
        let mut voxels = if one_vote(couple) { once } else { twice };
        let all = voxels.count();
        voxels.remove(&taken);
        let free = voxels.count();
        let share = (all - free) as f64 / all as f64;
        // No couple is empty: the best partner shares voxels with its anchor, and a candidate alone has some.
        let Some(bounds) = voxels.bounds() else { continue };
        if share > MAX_TAKEN {
            continue;
        }
        let Ok(id) = u16::try_from(fused.boxes.len() + 1) else { break };
        taken.add(&voxels);
        fused.boxes.push(bounds);
        let to = fused.ids.voxels_mut();
        voxels.for_each(|index| to[grid.dims.offset(index)] = id);
    }
    if fused.boxes.is_empty() { Err(Ended::NoVertebra) } else { Ok(fused) }
}

/// Whether one vote gives a voxel to a couple: where there are only two members, or where three hardly agree.
fn one_vote(couple: &Couple) -> bool {
    let members = couple.members.len();
    let least = MIN_DICE + DICE_PER_MEMBER * 4usize.saturating_sub(members) as f64;
    members <= 2 || couple.agreement < least
}

/// Vertebrae by the order of their couples.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    pub ids: Volume<u16>,
    /// A box around every vertebra, that of id 1 first.
    boxes: Vec<Bounds>,
}

impl Fused {
    /// Vertebrae `1..` of a mask made elsewhere.
    pub fn of(ids: Volume<u16>) -> Fused {
        let highest = ids.voxels().iter().copied().max().unwrap_or(0);
        let whole = Bounds { min: [0; 3], max: ids.dims().counts().map(|n| n - 1) };
        let around = |id: u16| Bounds::of(&ids, |v| v == id).unwrap_or(whole);
        Fused { boxes: (1..=highest).map(around).collect(), ids }
    }

    /// The voxels at `bounds`, each by `value`.
    fn part(&self, bounds: Bounds, value: impl Fn(u16) -> u8) -> Volume<u8> {
        crop(&self.ids, bounds).map(value)
    }

    /// Erases components of a vertebra that are too small to be anything.
    pub fn drop_crumbs(&mut self) {
        let voxel = self.ids.grid().affine.spacing().iter().product::<f64>();
        let least = (MIN_COMPONENT_MM3 / voxel).round() as usize;
        let crumbs = |id: u16, bounds: Bounds| {
            let mask = self.part(bounds, |v| u8::from(v == id));
            let found = components::label(&mask, Connectivity::Faces6);
            let small = found.runs_where(|part| part.voxels < least).flatten();
            small.map(|at| mask.dims().index(at)).collect()
        };
        for (_, at) in self.places(crumbs) {
            self.ids.voxels_mut()[at] = 0;
        }
    }

    /// Fills background that a vertebra encloses.
    pub fn fill_holes(&mut self) {
        let holes = |id: u16, bounds: Bounds| {
            let mask = self.part(bounds, |v| u8::from(v != 0) + u8::from(v == id));
            fill::holes(&mask, 2).into_iter().map(|at| mask.dims().index(at)).collect()
        };
        for (id, at) in self.places(holes) {
            let to = &mut self.ids.voxels_mut()[at];
            *to = if *to == 0 { id } else { *to };
        }
    }

    /// The places in memory that `found` tells of each vertebra by their indices in its box, with the vertebra's id. Each
    /// vertebra is asked for itself, before anything is changed.
    fn places(&self, found: impl Fn(u16, Bounds) -> Vec<[usize; 3]> + Sync) -> Vec<(u16, usize)> {
        let all: Vec<(u16, Bounds)> = (1..).zip(self.boxes.iter().copied()).collect();
        let lists = parallel_map(available(), &all, |&(id, bounds)| found(id, bounds));
        let place = |bounds: Bounds, index: [usize; 3]| {
            let at = std::array::from_fn(|axis| bounds.min[axis] + index[axis]);
            self.ids.dims().offset(at)
        };
        let named = all.iter().zip(lists).flat_map(|(&(id, bounds), list)| {
            list.into_iter().map(move |index| (id, place(bounds, index)))
        });
        named.collect()
    }

    /// The vertebrae that are left, numbered from 1 without gaps.
    pub fn renumbered(self) -> Volume<u16> {
        let mut seen = vec![false; self.boxes.len() + 1];
        self.ids.voxels().iter().for_each(|&id| seen[usize::from(id)] = true);
        seen[0] = false;
        let mut next = 0;
        let numbers: Vec<u16> = seen
            .iter()
            .map(|&seen| {
                next += u16::from(seen);
                if seen { next } else { 0 }
            })
            .collect();
        self.ids.map(|id| numbers[usize::from(id)])
    }
}
