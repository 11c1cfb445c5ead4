//! See [`crate::components`]; equal to it to the bit.

use bytemuck::{Pod, Zeroable};

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher};
use crate::Dims;
use crate::components::Component;
use crate::morphology::Element;

/// The components of a label map.
#[derive(Debug)]
pub struct Components {
    /// Component number of each voxel, 0 for the background.
    pub labels: Array<u32>,
    /// `parts[n - 1]` is component `n`.
    pub parts: Vec<Component>,
}

/// Voxels of a word of bits, `BITS` in `sagitta.cuh`: neighbours along the first axis.
const BITS: usize = 32;

/// Words of a mask: each row begins with a new one.
pub(super) fn words(dims: Dims) -> usize {
    let [ni, nj, nk] = dims.counts();
    ni.div_ceil(BITS) * nj * nk
}

/// What one label occupies, `Extent` in `components.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Extent {
    voxels: i32,
    value: i32,
    before: [i32; 3],
    behind: [i32; 3],
    sums: [u64; 3],
}

// SAFETY: integers, all of which may be 0.
unsafe impl Zeroable for Extent {}
// SAFETY: integers without a gap between them: 8 of 4 bytes, then 3 of 8.
unsafe impl Pod for Extent {}

impl From<&Extent> for Component {
    fn from(part: &Extent) -> Component {
        Component {
            value: part.value as u8,
            voxels: part.voxels as usize,
            min: part.before.map(|before| (i32::MAX - before) as usize),
            max: part.behind.map(|behind| behind as usize - 1),
            sum: part.sums,
        }
    }
}

/// Parts that are downloaded together with their number: more than a class map of a spine has. Where there are more, they
/// are added up once more.
const PARTS: usize = 500;

/// See [`crate::components::label`]; neighbours are those of `element`. Waits for the device once where there are few parts.
pub fn label(
    on: &dyn Launcher,
    map: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Components, DeviceError> {
    let Runs { full, starts, mut parents, counts } = Runs::joined(on, map, dims, element, None)?;
    let mut table = Array::<Extent>::filled(on, PARTS + 1, 0)?;
    Call::of("number_roots")
        .read(&starts)
        .write(&mut parents)
        .read(&counts)
        .write(&mut table)
        .count(dims.counts()[0])
        .count(words(dims))
        .in_tiles(on, dims)?;
    let mut labels = Array::new(on, dims.voxels())?;
    let mut parts = |table: &mut Array<Extent>| {
        Call::of("label_runs")
            .read(map)
            .read(&full)
            .read(&starts)
            .read(&parents)
            .write(&mut labels)
            .write(table)
            .counts(dims.counts())
            .count(table.len() - 1)
            .in_tiles(on, dims)?;
        table.download(on)
    };
    let mut found = parts(&mut table)?;
    let count = found[0].voxels as usize;
    if count > PARTS {
        found = parts(&mut Array::filled(on, count + 1, 0)?)?;
    }
    Ok(Components { labels, parts: found[1..=count].iter().map(Component::from).collect() })
}

/// Runs along the first axis and their components, as `components.cu` has them.
#[derive(Debug)]
pub(super) struct Runs {
    /// Of each word which voxels are not background, and where runs start.
    pub full: Array<u32>,
    pub starts: Array<u32>,
    /// At the first voxel of each run the least offset of its component.
    pub parents: Array<i32>,
    /// Components that begin in each block of threads.
    counts: Array<i32>,
}

impl Runs {
    /// Those of a label map, or of everything that is not `but`.
    pub(super) fn joined(
        on: &dyn Launcher,
        map: &Array<u8>,
        dims: Dims,
        element: Element,
        but: Option<u8>,
    ) -> Result<Runs, DeviceError> {
        let words = words(dims);
        let room = || Array::<u32>::new(on, words);
        let (mut full, mut starts, mut above) = (room()?, room()?, room()?);
        let mut parents = Array::<i32>::new(on, dims.voxels())?;
        // The 13 neighbours before a voxel in memory are the first of all 27.
        let before = element_bits(element) & ((1 << 13) - 1);
        let but = but.map_or(-1, i32::from);
        Call::of("join_in_tiles")
            .read(map)
            .write(&mut full)
            .write(&mut starts)
            .write(&mut above)
            .write(&mut parents)
            .counts(dims.counts())
            .number(before)
            .number(but)
            .in_tiles(on, dims)?;
        Call::of("join_tiles")
            .read(map)
            .read(&full)
            .read(&starts)
            .read(&above)
            .write(&mut parents)
            .counts(dims.counts())
            .number(before)
            .number(but)
            .in_tiles(on, dims)?;
        let mut counts = Array::new(on, words.div_ceil(THREADS as usize))?;
        Call::of("flatten_runs")
            .read(&starts)
            .write(&mut parents)
            .write(&mut counts)
            .count(dims.counts()[0])
            .count(words)
            .in_tiles(on, dims)?;
        Ok(Runs { full, starts, parents, counts })
    }
}

/// Bit `n` for the `n`-th of the 27 voxels around one.
pub(super) fn element_bits(element: Element) -> i32 {
    let away = |n: isize| [n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1];
    (0..27).filter(|&n| element.holds(away(n))).fold(0, |bits, n| bits | 1 << n)
}

/// See [`crate::components::occupied`]: what each of the labels 1 to `count` occupies. No label may be larger.
pub fn occupied(
    on: &dyn Launcher,
    labels: &Array<u8>,
    dims: Dims,
    count: usize,
) -> Result<Vec<Component>, DeviceError> {
    let mut parts = Array::<Extent>::filled(on, count + 1, 0)?;
    Call::of("occupied")
        .read(labels)
        .write(&mut parts)
        .counts(dims.counts())
        .over(on, words(dims))?;
    let parts = parts.download(on)?;
    let found = parts.iter().enumerate().filter(|(_, part)| part.voxels > 0);
    Ok(found.map(|(n, part)| Component { value: n as u8, ..part.into() }).collect())
}
