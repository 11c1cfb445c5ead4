//! Runs of equal voxels along `i` and which of them connect: the work behind [`super::pieces`].
//!
//! A row becomes two bits a voxel: whether it is inside a structure, and whether it differs from the one before. Which runs
//! of two rows meet is then a few operations on 64 voxels at once, whatever the rows hold: background costs one comparison
//! a word, and noise no branch per voxel that cannot be foreseen. Joins that follow from others are left out.

use super::Connectivity;
use super::words::{WORD, differing, for_each_bit, inside, is_background, word, word_before};
use crate::Volume;
use std::ops::Range;

/// All runs of a map that are not background, in memory order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Runs {
    /// Where each run begins in memory, and where it has ended: no grid has more voxels than a u32 can count.
    firsts: Vec<u32>,
    ends: Vec<u32>,
    /// Number of runs before each row, and before the end.
    rows: Vec<u32>,
    /// An earlier run of the same component, or the run itself where it is the first.
    pub(super) parents: Vec<u32>,
}

impl Runs {
    pub(super) fn of(map: &Volume<u8>, connectivity: Connectivity) -> Runs {
        let [ni, nj, nk] = map.dims().counts();
        let words = ni.div_ceil(WORD);
        let rows = Vec::with_capacity(nj * nk + 1);
        let mut runs = Runs { firsts: Vec::new(), ends: Vec::new(), rows, parents: Vec::new() };
        let slice = || vec![Marks::default(); nj * words];
        let (mut here, mut before) = (slice(), slice());
        for row in 0..nj * nk {
            let (j, k) = (row % nj, row / nj);
            if j == 0 {
                std::mem::swap(&mut here, &mut before);
            }
            let line = |j: usize| j * words..(j + 1) * words;
            let start = runs.firsts.len() as u32;
            runs.rows.push(start);
            runs.add(map, row, &mut here[line(j)]);
            runs.parents.extend(start..runs.firsts.len() as u32);
            if start == runs.firsts.len() as u32 {
                continue;
            }
            let of = |row: usize, marks| Row { voxels: map.voxels(), offset: row * ni, marks };
            let neighbours = [
                (j > 0).then(|| of(row - 1, &here[line(j - 1)])),
                (k > 0).then(|| of(row - nj, &before[line(j)])),
                (k > 0 && j > 0).then(|| of(row - nj - 1, &before[line(j - 1)])),
                (k > 0 && j + 1 < nj).then(|| of(row - nj + 1, &before[line(j + 1)])),
            ];
            let this = of(row, &here[line(j)]);
            for word in 0..words {
                join(&this, &neighbours, word, connectivity, &mut runs.parents);
            }
        }
        runs.rows.push(runs.firsts.len() as u32);
        runs
    }

    pub(super) fn count(&self) -> usize {
        self.firsts.len()
    }

    /// Where the voxels of a run are in memory.
    pub(super) fn range(&self, run: usize) -> Range<usize> {
        self.firsts[run] as usize..self.ends[run] as usize
    }

    /// The runs of each row.
    pub(super) fn by_row(&self) -> impl Iterator<Item = Range<usize>> {
        self.rows.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// Appends the runs of one row, and tells what its words are.
    fn add(&mut self, map: &Volume<u8>, row: usize, marks: &mut [Marks]) {
        let ni = map.dims().counts()[0];
        let mut was_inside = 0;
        let earlier = self.firsts.len() as u32;
        if is_background(&map.voxels()[row * ni..(row + 1) * ni]) {
            marks.fill(Marks { earlier, ..Marks::default() });
            return;
        }
        for (n, mark) in marks.iter_mut().enumerate() {
            let start = row * ni + n * WORD;
            let valid = u64::MAX >> WORD.saturating_sub(ni - n * WORD);
            let values = word(map.voxels(), start);
            let inside = inside(&values) & valid;
            *mark = Marks { inside, borders: 0, earlier: self.firsts.len() as u32 };
            if inside | was_inside == 0 {
                continue;
            }
            let borders = differing(&values, &word_before(map.voxels(), start)) & valid;
            // Background lies before the row, not the end of the one before.
            mark.borders = if n == 0 { borders & !1 | inside & 1 } else { borders };
            let ended = mark.borders & (inside << 1 | was_inside);
            for_each_bit(mark.borders & inside, |bit| self.firsts.push(start as u32 + bit));
            for_each_bit(ended, |bit| self.ends.push(start as u32 + bit));
            was_inside = inside >> (WORD - 1);
        }
        if self.ends.len() < self.firsts.len() {
            self.ends.push(((row + 1) * ni) as u32);
        }
    }
}

/// What the voxels of a word are; the first is the lowest bit.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    /// Voxels that are not background.
    inside: u64,
    /// Voxels that differ from the one before. Background lies before the row.
    borders: u64,
    /// How many runs begin before this word, over all rows.
    earlier: u32,
}

impl Marks {
    /// The number of the run that the voxel at `bit` belongs to. The voxel must be inside.
    fn run_at(&self, bit: u32) -> u32 {
        let begun = self.inside & self.borders & (u64::MAX >> (u64::BITS - 1 - bit));
        self.earlier + begun.count_ones() - 1
    }

    /// The number of the run that the voxel before `bit` belongs to. That voxel must be inside.
    fn run_before(&self, bit: u32) -> u32 {
        let begun = self.inside & self.borders & ((1 << bit) - 1);
        self.earlier + begun.count_ones() - 1
    }
}

struct Row<'a> {
    voxels: &'a [u8],
    offset: usize,
    marks: &'a [Marks],
}

impl Row<'_> {
    /// Which voxels of a word are inside and equal in both rows.
    fn equal(&self, other: &Row, n: usize) -> u64 {
        let both = self.marks[n].inside & other.marks[n].inside;
        if both == 0 {
            return 0;
        }
        let [a, b] = [self, other].map(|row| word(row.voxels, row.offset + n * WORD));
        both & !differing(&a, &b)
    }

    /// Which of the voxels `of` a word equal the voxel before their place in the other row.
    fn equal_before(&self, other: &Row, n: usize, of: u64) -> u64 {
        // No voxel lies before the row.
        let of = if n == 0 { of & !1 } else { of };
        if of == 0 {
            return 0;
        }
        let here = word(self.voxels, self.offset + n * WORD);
        of & !differing(&here, &word_before(other.voxels, other.offset + n * WORD))
    }
}

/// Joins the runs of a word of a row to those of the rows before it: below it in its slice, then beside it in the slice
/// before, and below and above that one.
fn join(
    this: &Row,
    neighbours: &[Option<Row>; 4],
    word: usize,
    connectivity: Connectivity,
    parents: &mut [u32],
) {
    let here = this.marks[word];
    if here.inside | here.borders == 0 {
        return;
    }
    let equal = [0, 1, 2, 3].map(|n| neighbours[n].as_ref().map_or(0, |n| this.equal(n, word)));
    let [below, beside, corner, _] = equal;
    // Where a voxel has joined a neighbour that has joined the other.
    let joined = match connectivity {
        Connectivity::Faces6 => [0, below & corner, u64::MAX, u64::MAX],
        _ => [0, below, below | beside, beside],
    };
    for (n, other) in neighbours.iter().enumerate() {
        let Some(other) = other else { continue };
        let there = other.marks[word];
        for_each_bit(meetings(equal[n], here.borders, joined[n]), |bit| {
            unite(parents, here.run_at(bit), there.run_at(bit));
        });
        let (diagonal, joined) = match connectivity {
            Connectivity::Faces6 => (false, 0),
            Connectivity::Edges18 => (n < 2, 0),
            Connectivity::Corners26 => (true, joined[n]),
        };
        // Diagonal neighbours meet face to face as well, unless both rows change between them and differ on both sides.
        let borders = here.borders & there.borders & !(equal[n] | (equal[n] << 1));
        if diagonal && borders != 0 {
            let forward = borders & here.inside & !joined;
            for_each_bit(this.equal_before(other, word, forward), |bit| {
                unite(parents, here.run_at(bit), there.run_before(bit));
            });
            let backward = borders & there.inside & !(joined << 1);
            for_each_bit(other.equal_before(this, word, backward), |bit| {
                unite(parents, here.run_before(bit), there.run_at(bit));
            });
        }
    }
}

/// One voxel for each stretch of `equal` ones without a border inside, but for stretches that hold one of `joined`.
fn meetings(equal: u64, borders: u64, joined: u64) -> u64 {
    let inner = equal & (equal << 1) & !borders;
    let last = equal & !(inner >> 1);
    let but_last = equal & !last;
    // A sum carries from a joined voxel to the last of its stretch, and no further.
    let carried = (but_last + (but_last & joined)) | joined;
    last & !carried
}

/// Makes two runs and what is joined to them one component, led by its first run: up both ways at once, each run passed
/// being led by the earlier of the two from then on (Rem's algorithm).
fn unite(parents: &mut [u32], mut a: u32, mut b: u32) {
    loop {
        let (of_a, of_b) = (parents[a as usize], parents[b as usize]);
        if of_a == of_b {
            return;
        }
        if of_a < of_b {
            parents[b as usize] = of_a;
            if b == of_b {
                return;
            }
            b = of_b;
        } else {
            parents[a as usize] = of_b;
            if a == of_a {
                return;
            }
            a = of_a;
        }
    }
}
