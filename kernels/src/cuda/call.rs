//! One launch of one kernel: its arguments in the order of its parameters, then the shape.

use bytemuck::Pod;

use super::components::words;
use super::{Array, DeviceError, Launcher, Tables};
use crate::Dims;

/// How many threads run a kernel, in blocks that share memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub blocks: [u32; 3],
    /// Threads of a block, at most [`THREADS`].
    pub threads: u32,
    /// Bytes of shared memory besides those the kernel declares.
    pub shared_bytes: u32,
}

impl Shape {
    /// That of a kernel which goes over `items` by a grid-stride loop. It depends on nothing else, so that sums by blocks are
    /// the same on every device.
    pub fn over(items: usize) -> Shape {
        let blocks = items.div_ceil(THREADS as usize).clamp(1, MAX_BLOCKS) as u32;
        Shape { blocks: [blocks, 1, 1], threads: THREADS, shared_bytes: 0 }
    }

    /// That of a kernel of which each block takes a tile of an array of `[slices, rows, columns]`; `counts` and `tile` begin with
    /// the columns.
    pub fn tiles([columns, rows, slices]: [usize; 3], tile: [usize; 2]) -> Shape {
        let blocks = [columns.div_ceil(tile[0]), rows.div_ceil(tile[1]), slices];
        Shape { blocks: blocks.map(|n| n as u32), threads: THREADS, shared_bytes: 0 }
    }
}

/// Columns and rows of a block whose threads have `PartOf<across, down>` of an array (`sagitta.cuh`).
pub const fn part_of(across: usize, down: usize) -> [usize; 2] {
    [32 * across, THREADS as usize / 32 * down]
}

/// Those of a block whose threads have a `Part`.
const PART: [usize; 2] = part_of(4, 2);

/// Most blocks along the second and third axis of a launch, on every device.
const MAX_BLOCKS_ACROSS: u32 = 65_535;

/// Most items of such a kernel: an `int` goes over them in steps of all threads, and must not overflow.
const MAX_ITEMS: usize = 1 << 30;

/// One argument as `cuLaunchKernel` takes it, in the low bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    pub bits: u64,
    pub bytes: usize,
}

/// Threads of a block, `THREADS` in `sagitta.cuh`: enough warps to hide memory on every device, few enough for 255
/// registers each.
pub const THREADS: u32 = 256;

/// Most blocks of a kernel that goes over its items by a loop: 16 for each of 160 multiprocessors, more than any device has.
const MAX_BLOCKS: usize = 2560;

/// A number that a kernel may take.
pub trait Number: Pod {
    fn argument(self) -> Argument;
}

macro_rules! numbers {
    ($($type:ty => $bits:expr),*) => {$(
        impl Number for $type {
            fn argument(self) -> Argument {
                let bits: fn($type) -> u64 = $bits;
                Argument { bits: bits(self), bytes: size_of::<$type>() }
            }
        }
    )*};
}

numbers! {
    i32 => |v| u64::from(v as u32),
    u32 => u64::from,
    u64 => |v| v,
    f32 => |v| u64::from(v.to_bits()),
    f64 => f64::to_bits
}

/// The arguments of a launch.
#[derive(Debug)]
pub struct Call {
    kernel: &'static str,
    arguments: Vec<Argument>,
    /// A count that no kernel can take.
    too_large: Option<usize>,
}

impl Call {
    pub fn of(kernel: &'static str) -> Call {
        Call { kernel, arguments: Vec::new(), too_large: None }
    }

    /// An array that the kernel only reads.
    pub fn read<T: Pod>(self, array: &Array<T>) -> Call {
        self.argument(array.address().argument())
    }

    /// One of several tables that the kernel only reads.
    pub fn table(self, tables: &Tables, which: usize) -> Call {
        self.argument(tables.address(which).argument())
    }

    /// An array that the kernel writes.
    pub fn write<T: Pod>(self, array: &mut Array<T>) -> Call {
        self.argument(array.address().argument())
    }

    pub fn number(self, number: impl Number) -> Call {
        self.argument(number.argument())
    }

    /// A count or index, `int` in the kernels: no grid has 2^31 voxels.
    pub fn count(mut self, count: usize) -> Call {
        if i32::try_from(count).is_err() {
            self.too_large = Some(count);
        }
        self.number(count as i32)
    }

    /// Counts along the three axes.
    pub fn counts(self, counts: [usize; 3]) -> Call {
        counts.into_iter().fold(self, Call::count)
    }

    fn argument(mut self, argument: Argument) -> Call {
        self.arguments.push(argument);
        self
    }

    /// Launches a kernel that goes over `items` by a grid-stride loop.
    pub fn over(mut self, on: &dyn Launcher, items: usize) -> Result<(), DeviceError> {
        if items > MAX_ITEMS {
            self.too_large = Some(items);
        }
        self.launch(on, Shape::over(items))
    }

    /// Launches a kernel of which each thread has a `Part` of an array of `counts`, the first fastest.
    pub fn rows(self, on: &dyn Launcher, counts: [usize; 3]) -> Result<(), DeviceError> {
        self.tiles(on, counts, PART)
    }

    /// Launches a kernel of which each block has a tile of an array; see [`Shape::tiles`].
    pub fn tiles(
        mut self,
        on: &dyn Launcher,
        counts: [usize; 3],
        tile: [usize; 2],
    ) -> Result<(), DeviceError> {
        let items = counts.iter().product();
        if items > MAX_ITEMS {
            self.too_large = Some(items);
        }
        self.launch(on, Shape::tiles(counts, tile))
    }

    /// Launches a kernel with one thread for each word of a mask of `dims`; `over` takes words too, where blocks share none.
    pub fn in_tiles(mut self, on: &dyn Launcher, dims: Dims) -> Result<(), DeviceError> {
        if dims.voxels() > MAX_ITEMS {
            self.too_large = Some(dims.voxels());
        }
        let blocks = words(dims).div_ceil(THREADS as usize) as u32;
        self.launch(on, Shape { blocks: [blocks, 1, 1], threads: THREADS, shared_bytes: 0 })
    }

    /// Launches a kernel in the given shape; one without blocks has nothing to do.
    pub fn launch(mut self, on: &dyn Launcher, shape: Shape) -> Result<(), DeviceError> {
        if let Some(&across) = shape.blocks[1..].iter().find(|&&n| n > MAX_BLOCKS_ACROSS) {
            self.too_large = Some(across as usize);
        }
        if let Some(count) = self.too_large {
            let text = format!("{count} items are too many for a kernel");
            return Err(DeviceError::Refused { during: self.kernel.into(), text });
        }
        if shape.blocks.contains(&0) {
            return Ok(());
        }
        // SAFETY: arrays are memory of a launcher, numbers have their parameter's size; that each operation of this module
        // passes what its kernel declares, and that the kernel stays within, is shown by the case suite, where the emulation
        // compares every call with the kernel's parameter list and checks every address.
        unsafe { on.launch(self.kernel, shape, &self.arguments) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_passed_by_their_bits() {
        assert_eq!((-1i32).argument(), Argument { bits: 0xffff_ffff, bytes: 4 });
        assert_eq!(1.0f64.argument(), Argument { bits: 1.0f64.to_bits(), bytes: 8 });
    }
}
