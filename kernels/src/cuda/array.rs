//! Values in a launcher's memory.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::{DeviceError, Launcher, Memory};

/// `length` values in the memory of a launcher.
#[derive(Debug)]
pub struct Array<T> {
    memory: Memory,
    length: usize,
    values: PhantomData<T>,
}

impl<T: Pod> Array<T> {
    /// Room for `length` values, with undefined contents: kernels write all of it before any reads.
    pub fn new(on: &dyn Launcher, length: usize) -> Result<Array<T>, DeviceError> {
        // No allocator gives nothing.
        let memory = on.allocate(size_of::<T>() * length.max(1))?;
        Ok(Array { memory, length, values: PhantomData })
    }

    /// `length` values, all of whose bytes are `byte`.
    pub fn filled(on: &dyn Launcher, length: usize, byte: u8) -> Result<Array<T>, DeviceError> {
        let mut array = Array::new(on, length)?;
        on.fill(&mut array.memory, byte)?;
        Ok(array)
    }

    /// A copy of `values`.
    pub fn of(on: &dyn Launcher, values: &[T]) -> Result<Array<T>, DeviceError> {
        let mut array = Array::new(on, values.len())?;
        on.upload(bytemuck::cast_slice(values), &mut array.memory)?;
        Ok(array)
    }

    /// The values, once everything launched before is done.
    pub fn download(&self, on: &dyn Launcher) -> Result<Vec<T>, DeviceError> {
        let mut values = vec![T::zeroed(); self.length];
        self.download_into(on, &mut values)?;
        Ok(values)
    }

    /// As many of the first values as `to` takes, once everything launched before is done.
    pub fn download_into(&self, on: &dyn Launcher, to: &mut [T]) -> Result<(), DeviceError> {
        on.download(&self.memory, bytemuck::cast_slice_mut(to))
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn address(&self) -> u64 {
        self.memory.address()
    }
}

/// Small tables of one launch, uploaded together: each upload holds up the device for longer than it takes to read them.
#[derive(Debug)]
pub struct Tables {
    words: Array<u32>,
    starts: Vec<usize>,
}

/// Where a table begins: a multiple of this many words, so that kernels may read four at once.
const ALIGNMENT: usize = 4;

impl Tables {
    /// Each table as words of four bytes, `words` of what it holds.
    pub fn of(on: &dyn Launcher, tables: &[&[u32]]) -> Result<Tables, DeviceError> {
        let (mut all, mut starts) = (Vec::new(), Vec::new());
        for table in tables {
            starts.push(all.len());
            all.extend_from_slice(table);
            all.resize(all.len().next_multiple_of(ALIGNMENT), 0);
        }
        Ok(Tables { words: Array::of(on, &all)?, starts })
    }

    pub(super) fn address(&self, which: usize) -> u64 {
        self.words.address() + (size_of::<u32>() * self.starts[which]) as u64
    }
}

/// Values of four bytes as [`Tables`] take them.
pub(super) fn words<T: bytemuck::NoUninit>(values: &[T]) -> &[u32] {
    bytemuck::cast_slice(values)
}
