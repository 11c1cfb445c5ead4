//! Sets of voxels in a box, one bit a voxel: comparing two costs a few microseconds, and no copy of a volume is made.
//!
//! A word holds 64 neighbours along the first axis and starts at a multiple of 64 of the whole mask, so words of any two
//! sets name the same voxels.

use crate::components::Bounds;

/// Voxels a word holds.
pub(crate) const WORD: usize = 64;

/// Some voxels of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits {
    /// First word, row and slice of the box, and those behind the last.
    min: [usize; 3],
    end: [usize; 3],
    /// Words fastest, then rows.
    words: Vec<u64>,
}

impl Bits {
    /// No voxel, with room for those of a box of words, rows and slices.
    fn empty(min: [usize; 3], end: [usize; 3]) -> Bits {
        let counts: [usize; 3] = std::array::from_fn(|axis| end[axis] - min[axis]);
        Bits { min, end, words: vec![0; counts.iter().product()] }
    }

    /// No voxel, with room for all of a mask of `counts` voxels.
    pub fn room(counts: [usize; 3]) -> Bits {
        Bits::empty([0; 3], [counts[0].div_ceil(WORD), counts[1], counts[2]])
    }

    /// For each class from 1 to `N` its voxels in a block at `place`, whose rows of classes come in the order of memory; every
    /// set in a box as small as whole words allow. Other classes are nobody's.
    pub fn of_classes<'a, const N: usize>(
        place: Bounds,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> [Bits; N] {
        let (low, end) = words_of(place);
        let mut sets: [Bits; N] = std::array::from_fn(|_| Bits::empty(low, end));
        let (first, width) = (low[0], end[0] - low[0]);
        for (row, values) in rows.enumerate() {
            let mut at = place.min[0];
            let mut rest = values;
            while !rest.is_empty() {
                let (part, behind) = rest.split_at((WORD - at % WORD).min(rest.len()));
                let word = row * width + at / WORD - first;
                if part.iter().fold(0, |any, &v| any | v) != 0 {
                    for (bit, &class) in part.iter().enumerate() {
                        if let Some(set) = usize::from(class).checked_sub(1).filter(|&n| n < N) {
                            sets[set].words[word] |= 1 << (at % WORD + bit);
                        }
                    }
                }
                (at, rest) = (at + part.len(), behind);
            }
        }
        sets.map(|set| set.trimmed())
    }

    /// The same voxels in the smallest box of whole words.
    fn trimmed(&self) -> Bits {
        let (mut min, mut end) = (self.end, self.min);
        let [wide, high] = [0, 1].map(|axis| self.end[axis] - self.min[axis]);
        for (n, _) in self.words.iter().enumerate().filter(|(_, word)| **word != 0) {
            let at = [n % wide, n / wide % high, n / (wide * high)];
            min = [0, 1, 2].map(|axis| min[axis].min(at[axis] + self.min[axis]));
            end = [0, 1, 2].map(|axis| end[axis].max(at[axis] + self.min[axis] + 1));
        }
        if min[0] >= end[0] {
            return Bits::empty([0; 3], [0; 3]);
        }
        let mut small = Bits::empty(min, end);
        small.combine(self, |to, from| *to = from);
        small
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// How many voxels the set holds.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many voxels both sets hold.
    pub fn shared(&self, other: &Bits) -> usize {
        let Some((min, end)) = self.common(other) else { return 0 };
        let rows = rows(min, end).map(|row| {
            let pairs = self.row(row, min[0], end[0]).iter().zip(other.row(row, min[0], end[0]));
            pairs.map(|(a, b)| (a & b).count_ones()).sum::<u32>() as usize
        });
        rows.sum()
    }

    /// The voxels that at least one of `sets` holds, and those that at least two hold.
    pub fn votes(sets: &[&Bits]) -> [Bits; 2] {
        let low = |axis: usize| sets.iter().map(|set| set.min[axis]).min().unwrap_or(0);
        let high = |axis: usize| sets.iter().map(|set| set.end[axis]).max().unwrap_or(0);
        let mut once = Bits::empty([0, 1, 2].map(low), [0, 1, 2].map(high));
        let mut twice = once.clone();
        for set in sets {
            let mut again = once.clone();
            again.keep(set);
            twice.combine(&again, |to, from| *to |= from);
            once.add(set);
        }
        [once, twice]
    }

    /// Adds the voxels of `other` that lie in the box.
    pub fn add(&mut self, other: &Bits) {
        self.combine(other, |to, from| *to |= from);
    }

    /// Takes away the voxels of `other`.
    pub fn remove(&mut self, other: &Bits) {
        self.combine(other, |to, from| *to &= !from);
    }

    /// Takes away the voxels that `other` does not hold.
    fn keep(&mut self, other: &Bits) {
        let mut kept = Bits::empty(self.min, self.end);
        kept.combine(other, |to, from| *to = from);
        self.words.iter_mut().zip(&kept.words).for_each(|(to, from)| *to &= from);
    }

    /// Calls `each` with every voxel.
    pub fn for_each(&self, mut each: impl FnMut([usize; 3])) {
        for row in rows(self.min, self.end) {
            for (n, &word) in self.row(row, self.min[0], self.end[0]).iter().enumerate() {
                let mut left = word;
                while left != 0 {
                    let bit = left.trailing_zeros() as usize;
                    each([(self.min[0] + n) * WORD + bit, row[0], row[1]]);
                    left &= left - 1;
                }
            }
        }
    }

    /// The smallest box around all voxels; `None` of no voxel.
    pub fn bounds(&self) -> Option<Bounds> {
        let small = self.trimmed();
        let wide = small.end[0] - small.min[0];
        let all =
            |word: usize| small.words.iter().skip(word).step_by(wide.max(1)).fold(0, |a, b| a | b);
        let (first, last): (u64, u64) = (all(0), all(wide.checked_sub(1)?));
        let [low, high] = [first.trailing_zeros(), WORD as u32 - 1 - last.leading_zeros()];
        Some(Bounds {
            min: [small.min[0] * WORD + low as usize, small.min[1], small.min[2]],
            max: [(small.end[0] - 1) * WORD + high as usize, small.end[1] - 1, small.end[2] - 1],
        })
    }

    /// Changes every word of the box that `other` has too.
    fn combine(&mut self, other: &Bits, change: impl Fn(&mut u64, u64)) {
        let Some((min, end)) = self.common(other) else { return };
        for row in rows(min, end) {
            let from = other.row(row, min[0], end[0]);
            let start = self.start(row, min[0]);
            let to = &mut self.words[start..start + from.len()];
            to.iter_mut().zip(from).for_each(|(to, &from)| change(to, from));
        }
    }

    /// The box of words that both have.
    fn common(&self, other: &Bits) -> Option<([usize; 3], [usize; 3])> {
        common((self.min, self.end), (other.min, other.end))
    }

    /// Where word `first` of a row lies in memory.
    fn start(&self, [j, k]: [usize; 2], first: usize) -> usize {
        let [wide, high] = [0, 1].map(|axis| self.end[axis] - self.min[axis]);
        first - self.min[0] + wide * (j - self.min[1] + high * (k - self.min[2]))
    }

    /// Words `first` to before `end` of a row of the box.
    fn row(&self, row: [usize; 2], first: usize, end: usize) -> &[u64] {
        let start = self.start(row, first);
        &self.words[start..start + end - first]
    }
}

/// First word, row and slice of a block of voxels, and those behind its last.
pub(crate) fn words_of(Bounds { min, max }: Bounds) -> ([usize; 3], [usize; 3]) {
    ([min[0] / WORD, min[1], min[2]], [max[0] / WORD + 1, max[1] + 1, max[2] + 1])
}

/// The box of words that two boxes have in common.
pub(crate) fn common(
    a: ([usize; 3], [usize; 3]),
    b: ([usize; 3], [usize; 3]),
) -> Option<([usize; 3], [usize; 3])> {
    let min: [usize; 3] = std::array::from_fn(|axis| a.0[axis].max(b.0[axis]));
    let end: [usize; 3] = std::array::from_fn(|axis| a.1[axis].min(b.1[axis]));
    (0..3).all(|axis| min[axis] < end[axis]).then_some((min, end))
}

/// All rows (second and third index) of a box.
fn rows(min: [usize; 3], end: [usize; 3]) -> impl Iterator<Item = [usize; 2]> {
    (min[2]..end[2]).flat_map(move |k| (min[1]..end[1]).map(move |j| [j, k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class `n % 4` at voxel `n` of a block whose rows cross the border of a word.
    fn sets() -> ([Bits; 3], Vec<u8>) {
        let place = Bounds { min: [60, 2, 3], max: [66, 4, 4] };
        let classes: Vec<u8> = (0..42).map(|n| n % 4).collect();
        (Bits::of_classes(place, classes.chunks(7)), classes)
    }

    #[test]
    fn every_voxel_is_in_the_set_of_its_class() {
        let (sets, classes) = sets();
        for (n, set) in sets.iter().enumerate() {
            let mut found = Vec::new();
            set.for_each(|[i, j, k]| found.push(i - 60 + 7 * (j - 2 + 3 * (k - 3))));
            found.sort_unstable();
            let want: Vec<usize> = (0..42).filter(|&v| usize::from(classes[v]) == n + 1).collect();
            assert_eq!(found, want);
            assert_eq!(set.count(), want.len());
        }
    }

    #[test]
    fn votes_are_counted_and_taken_voxels_removed() {
        let ([a, b, _], _) = sets();
        let [once, twice] = Bits::votes(&[&a, &b, &a]);
        assert_eq!((once.count(), twice.count()), (a.count() + b.count(), a.count()));
        assert_eq!((a.shared(&b), once.shared(&b)), (0, b.count()));
        let mut taken = Bits::room([80, 6, 6]);
        taken.add(&once);
        let mut left = a.clone();
        left.remove(&taken);
        assert!(left.is_empty());
        assert_eq!(a.bounds(), Some(Bounds { min: [60, 2, 3], max: [66, 4, 4] }));
    }

    #[test]
    fn a_set_without_voxels_shares_none() {
        let place = Bounds { min: [0; 3], max: [1, 1, 1] };
        let [none, some] = Bits::of_classes(place, [2; 8].chunks(2));
        assert!(none.is_empty() && some.count() == 8);
        assert_eq!((none.shared(&some), none.bounds()), (0, None));
        assert!(Bits::votes(&[&none, &none])[0].is_empty());
    }
}
