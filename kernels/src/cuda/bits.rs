//! See [`crate::bits`]; counts are equal to it.

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher, Shape};
use crate::Dims;
use crate::bits::{WORD, common, words_of};
use crate::components::Bounds;
use crate::votes::CLASSES;

/// Where what one answer says lies: in the mask, and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub place: Bounds,
    /// The offset of its first class, and from one row and one slice to the next.
    pub first: usize,
    pub row: usize,
    pub slice: usize,
}

/// The sets of several answers: one for each class of each, in this order.
#[derive(Debug)]
pub struct Sets {
    boxes: Vec<WordBox>,
    words: Array<u64>,
}

/// The words of the sets of one answer.
#[derive(Debug, Clone, Copy)]
struct WordBox {
    min: [usize; 3],
    end: [usize; 3],
    /// The first word of its first set.
    start: usize,
}

impl WordBox {
    fn counts(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.end[axis] - self.min[axis])
    }

    fn words(&self) -> usize {
        self.counts().iter().product()
    }

    /// The place of the first word of set `class` in a box that begins at `min`.
    fn place(&self, class: usize, min: [usize; 3]) -> usize {
        let [i, j, k] = [0, 1, 2].map(|axis| min[axis] - self.min[axis]);
        let [wide, high, _] = self.counts();
        self.start + class * self.words() + i + wide * (j + high * k)
    }
}

/// Words of a set that one block of threads goes over: enough to be worth its sum.
const WORDS_OF_A_BLOCK: usize = 8 * THREADS as usize;

/// Numbers as the kernels read them.
fn numbers(of: &[usize], kernel: &str) -> Result<Vec<i32>, DeviceError> {
    let number = |&n: &usize| {
        i32::try_from(n).map_err(|_| DeviceError::Refused {
            during: kernel.to_owned(),
            text: format!("{n} words or voxels are too many for a kernel"),
        })
    };
    of.iter().map(number).collect()
}

impl Sets {
    /// The sets of what `classes` say in each of `blocks`.
    pub fn pack(
        on: &dyn Launcher,
        classes: &Array<u8>,
        blocks: &[Block],
    ) -> Result<Sets, DeviceError> {
        let (mut boxes, mut described, mut start) = (vec![], vec![], 0);
        for block in blocks {
            let (min, end) = words_of(block.place);
            let words = WordBox { min, end, start };
            described.extend([block.place.min[0], block.place.max[0] + 1, min[0]]);
            described.extend(words.counts());
            described.extend([block.first, block.row, block.slice, start]);
            start += CLASSES * words.words();
            boxes.push(words);
        }
        let most = boxes.iter().map(WordBox::words).max().unwrap_or(0);
        let mut words = Array::new(on, start)?;
        let described = Array::of(on, &numbers(&described, "pack_sets")?)?;
        let mut shape = Shape::over(2 * most);
        shape.blocks[1] = blocks.len() as u32;
        if !blocks.is_empty() {
            let call = Call::of("pack_sets").read(classes).read(&described).write(&mut words);
            call.count(classes.len()).launch(on, shape)?;
        }
        Ok(Sets { boxes, words })
    }

    /// How many voxels both sets of each pair hold. Set `n` is class `n % CLASSES + 1` of answer `n / CLASSES`.
    pub fn shared(
        &self,
        on: &dyn Launcher,
        pairs: &[(usize, usize)],
    ) -> Result<Vec<usize>, DeviceError> {
        let (mut described, mut most) = (vec![], 1);
        for &(a, b) in pairs {
            let [one, other] = [a, b].map(|set| self.boxes[set / CLASSES]);
            let Some((min, end)) = common((one.min, one.end), (other.min, other.end)) else {
                described.extend([0; 9]);
                continue;
            };
            let size = [0, 1, 2].map(|axis| end[axis] - min[axis]);
            most = most.max(size.iter().product());
            described.extend(size);
            for (set, words) in [(a, one), (b, other)] {
                let [wide, high, _] = words.counts();
                described.extend([words.place(set % CLASSES, min), wide, high]);
            }
        }
        let mut counts = Array::<i32>::filled(on, pairs.len(), 0)?;
        let described = Array::of(on, &numbers(&described, "count_shared")?)?;
        let parts = most.div_ceil(WORDS_OF_A_BLOCK) as u32;
        let blocks = [pairs.len() as u32, parts, 1];
        if !pairs.is_empty() {
            let call = Call::of("count_shared").read(&self.words).read(&described);
            let shape = Shape { blocks, threads: THREADS, shared_bytes: 0 };
            call.write(&mut counts).launch(on, shape)?;
        }
        Ok(counts.download(on)?.into_iter().map(|count| count as usize).collect())
    }
}

/// A mask whose voxels are given away set by set, each voxel once.
#[derive(Debug)]
pub struct Shares {
    dims: Dims,
    taken: Array<u64>,
    ids: Array<u16>,
}

/// Voxels that were voted for and may be taken.
#[derive(Debug)]
pub struct Elected {
    /// All voxels with votes enough.
    pub all: usize,
    /// Those that nobody has yet, and a box around them.
    pub free: usize,
    pub bounds: Option<Bounds>,
    min: [usize; 3],
    counts: [usize; 3],
    words: Array<u64>,
}

/// Numbers that a count, a least and a largest index start from.
const NOTHING: [i32; 8] = [0, 0, i32::MAX, i32::MAX, i32::MAX, -1, -1, -1];

impl Shares {
    /// A mask that is nobody's.
    pub fn new(on: &dyn Launcher, dims: Dims) -> Result<Shares, DeviceError> {
        let [columns, rows, slices] = dims.counts();
        let words = columns.div_ceil(WORD) * rows * slices;
        let taken = Array::filled(on, words, 0)?;
        Ok(Shares { dims, taken, ids: Array::filled(on, dims.voxels(), 0)? })
    }

    /// The voxels that at least one of `members` holds, or at least two if `twice`. There must be a member, and all must lie
    /// within the mask.
    pub fn elect(
        &self,
        on: &dyn Launcher,
        sets: &Sets,
        members: &[usize],
        twice: bool,
    ) -> Result<Elected, DeviceError> {
        let boxes = || members.iter().map(|&set| (set, sets.boxes[set / CLASSES]));
        let min = [0, 1, 2].map(|n| boxes().map(|(_, b)| b.min[n]).min().unwrap_or(0));
        let end = [0, 1, 2].map(|n| boxes().map(|(_, b)| b.end[n]).max().unwrap_or(0));
        let counts = [0, 1, 2].map(|axis| end[axis] - min[axis]);
        let described = boxes().flat_map(|(set, words)| {
            let first = words.place(set % CLASSES, words.min);
            [first].into_iter().chain(words.min).chain(words.counts())
        });
        let described = numbers(&described.collect::<Vec<_>>(), "vote_sets")?;
        let mut words = Array::new(on, counts.iter().product())?;
        let mut found = Array::of(on, &NOTHING)?;
        Call::of("vote_sets")
            .read(&sets.words)
            .read(&Array::of(on, &described)?)
            .read(&self.taken)
            .write(&mut words)
            .write(&mut found)
            .count(members.len())
            .count(if twice { 2 } else { 1 })
            .counts(min)
            .counts(counts)
            .count(self.row_words())
            .count(self.dims.counts()[1])
            .over(on, words.len())?;
        let found: Vec<usize> = found.download(on)?.into_iter().map(|n| n as usize).collect();
        let bounds =
            Bounds { min: [found[2], found[3], found[4]], max: [found[5], found[6], found[7]] };
        let bounds = (found[1] > 0).then_some(bounds);
        Ok(Elected { all: found[0], free: found[1], bounds, min, counts, words })
    }

    /// Gives the free ones of `elected` to `id`. Between both calls nothing may be taken.
    pub fn take(
        &mut self,
        on: &dyn Launcher,
        elected: &Elected,
        id: u16,
    ) -> Result<(), DeviceError> {
        let [columns, rows, _] = self.dims.counts();
        let (row_words, voxels) = (self.row_words(), WORD * elected.words.len());
        Call::of("take_set")
            .read(&elected.words)
            .write(&mut self.taken)
            .write(&mut self.ids)
            .count(voxels)
            .count(usize::from(id))
            .counts(elected.min)
            .count(elected.counts[0])
            .count(elected.counts[1])
            .counts([row_words, rows, columns])
            .over(on, voxels)
    }

    /// Who has each voxel; 0 for nobody.
    pub fn ids(&self) -> &Array<u16> {
        &self.ids
    }

    fn row_words(&self) -> usize {
        self.dims.counts()[0].div_ceil(WORD)
    }
}
