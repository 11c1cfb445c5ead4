//! See [`crate::components`]; equal to it to the bit.

use super::call::THREADS;
use super::{Array, Call, DeviceError, Launcher, Shape};
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

/// Voxels that one block numbers, `SHARE` in `components.cu`.
const SHARE: usize = 16 * THREADS as usize;

/// See [`crate::components::label`]; neighbours are those of `element`.
pub fn label(
    on: &dyn Launcher,
    map: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Components, DeviceError> {
    let n = dims.voxels();
    let parents = roots(on, map, dims, element)?;
    let blocks = n.div_ceil(SHARE);
    let shape = |blocks| Shape { blocks: [blocks, 1, 1], threads: THREADS, shared_bytes: 0 };
    let mut counts = Array::<i32>::new(on, blocks)?;
    let mut total = Array::<i32>::new(on, 1)?;
    let each = shape(blocks as u32);
    Call::of("count_roots").read(&parents).write(&mut counts).count(n).launch(on, each)?;
    let once = Call::of("scan_counts").write(&mut counts).write(&mut total).count(blocks);
    once.launch(on, shape(1))?;
    let total = total.download(on)?[0] as usize;
    let (mut numbers, mut values) = (Array::<u32>::new(on, n)?, Array::<u8>::new(on, total)?);
    Call::of("number_roots")
        .read(map)
        .read(&parents)
        .read(&counts)
        .write(&mut numbers)
        .write(&mut values)
        .count(n)
        .launch(on, each)?;
    let mut labels = Array::new(on, n)?;
    Call::of("label_components")
        .read(&parents)
        .read(&numbers)
        .write(&mut labels)
        .count(n)
        .over(on, n)?;
    let parts = occupied(on, &labels, dims, total)?;
    let values = values.download(on)?;
    let parts = parts.into_iter().zip(values).map(|(part, value)| Component { value, ..part });
    Ok(Components { labels, parts: parts.collect() })
}

/// For each voxel the least offset of its component, -1 for the background.
pub(super) fn roots(
    on: &dyn Launcher,
    map: &Array<u8>,
    dims: Dims,
    element: Element,
) -> Result<Array<i32>, DeviceError> {
    let n = dims.voxels();
    let mut parents = Array::new(on, n)?;
    Call::of("start_components").read(map).write(&mut parents).count(n).over(on, n)?;
    // The 13 neighbours before a voxel in memory are the first of all 27.
    let before = element_bits(element) & ((1 << 13) - 1);
    Call::of("join_components")
        .read(map)
        .write(&mut parents)
        .counts(dims.counts())
        .number(before)
        .over(on, n)?;
    Call::of("flatten_components").write(&mut parents).count(n).over(on, n)?;
    Ok(parents)
}

/// Bit `n` for the `n`-th of the 27 voxels around one.
pub(super) fn element_bits(element: Element) -> i32 {
    let away = |n: isize| [n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1];
    (0..27).filter(|&n| element.holds(away(n))).fold(0, |bits, n| bits | 1 << n)
}

/// Labels of which a map may consist.
pub trait Label: bytemuck::Pod {
    const KERNEL: &'static str;
}

impl Label for u8 {
    const KERNEL: &'static str = "occupied_by_bytes";
}

impl Label for u32 {
    const KERNEL: &'static str = "occupied_by_numbers";
}

/// See [`crate::components::occupied`]: what each of the labels 1 to `count` occupies. No label may be larger.
pub fn occupied<T: Label>(
    on: &dyn Launcher,
    labels: &Array<T>,
    dims: Dims,
    count: usize,
) -> Result<Vec<Component>, DeviceError> {
    let mut counts = Array::<i32>::filled(on, count, 0)?;
    // Larger than any index, and smaller.
    let mut least = Array::<i32>::filled(on, 3 * count, 0x7f)?;
    let mut most = Array::<i32>::filled(on, 3 * count, 0xff)?;
    let mut sums = Array::<u64>::filled(on, 3 * count, 0)?;
    Call::of(T::KERNEL)
        .read(labels)
        .write(&mut counts)
        .write(&mut least)
        .write(&mut most)
        .write(&mut sums)
        .counts(dims.counts())
        .over(on, dims.voxels())?;
    let (counts, sums) = (counts.download(on)?, sums.download(on)?);
    let (least, most) = (least.download(on)?, most.download(on)?);
    let index = |of: &[i32], n: usize| std::array::from_fn(|axis| of[3 * n + axis] as usize);
    let part = |n: usize| Component {
        value: (n + 1) as u8,
        voxels: counts[n] as usize,
        min: index(&least, n),
        max: index(&most, n),
        sum: std::array::from_fn(|axis| sums[3 * n + axis]),
    };
    Ok((0..count).map(part).filter(|part| part.voxels > 0).collect())
}
