//! The operations as CUDA kernels: sources in `cu/`, one operation a file; here what allocates, launches and orders them.
//!
//! Everything is written over [`Launcher`], which the [`device`] implements, and crate `emulation`, which runs the same
//! sources on the processor: so the tests run host and device code alike on a machine without a GPU. Which engine works
//! and what to do without one is the caller's business. Results do not depend on the order of threads: integers are
//! equal to the reference to the bit; where floats are not, the operation says how far they may be.

#![allow(unsafe_code)]

pub mod answers;
pub mod array;
pub mod bias;
pub mod bits;
pub mod call;
pub mod code;
pub mod components;
pub mod convolution;
pub mod decision;
pub mod device;
pub mod distance;
pub mod fill;
pub mod morphology;
pub mod one_hot;
pub mod overlay;
pub mod patch_net;
pub mod pool;
pub mod resample;
pub mod slab;
pub mod stored;
pub mod votes;

use array::words;
pub use array::{Array, Tables};
pub use call::{Argument, Call, Shape};
pub use device::Device;

use std::sync::Arc;

use thiserror::Error;

/// Why kernels cannot run, or did not. Every variant but the last is a state of the machine: another engine takes over,
/// and its text is the reason.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    #[error("no CUDA driver (libcuda.so.1) on this machine")]
    NoDriver,
    #[error("the CUDA driver speaks version {}.{}, the kernels need {}.{}", has / 1000, has % 1000 / 10, needs / 1000, needs % 1000 / 10)]
    OldDriver { has: i32, needs: i32 },
    #[error("the CUDA driver finds no device: {0}")]
    NoDevice(String),
    #[error("{name} has compute capability {}.{}, the kernels need {}.{}", has.0, has.1, needs.0, needs.1)]
    OldDevice { name: String, has: (i32, i32), needs: (i32, i32) },
    #[error("the memory of the device does not suffice for {during}")]
    OutOfMemory { during: String },
    /// Nothing on this device works any more in this process.
    #[error("the device was lost during {during}: {text}")]
    Lost { during: &'static str, text: String },
    /// Our bug: a kernel and its caller do not fit each other.
    #[error("{during} was refused: {text}")]
    Refused { during: String, text: String },
}

/// Something that has memory of its own and runs the kernels of `cu/` in it, one after the other in the order of the calls.
pub trait Launcher {
    /// Memory with undefined contents.
    fn allocate(&self, bytes: usize) -> Result<Memory, DeviceError>;

    /// Copies `bytes` to the start of `to`.
    fn upload(&self, bytes: &[u8], to: &mut Memory) -> Result<(), DeviceError>;

    /// Waits for everything before, then copies the start of `from`.
    fn download(&self, from: &Memory, to: &mut [u8]) -> Result<(), DeviceError>;

    /// Sets every byte.
    fn fill(&self, memory: &mut Memory, byte: u8) -> Result<(), DeviceError>;

    /// Runs one kernel. Callers are [`Call`]s.
    ///
    /// # Safety
    /// `arguments` must be the kernel's parameters by number, size and meaning, pointers those of this launcher's memory,
    /// and the kernel must stay within it in this `shape`.
    unsafe fn launch(
        &self,
        kernel: &str,
        shape: Shape,
        arguments: &[Argument],
    ) -> Result<(), DeviceError>;
}

/// A block of a launcher's memory; goes back when dropped.
#[derive(Debug)]
pub struct Memory {
    address: u64,
    bytes: usize,
    home: Arc<dyn Home>,
}

/// Where memory goes back to.
pub trait Home: std::fmt::Debug + Send + Sync {
    fn take_back(&self, address: u64, bytes: usize);
}

impl Memory {
    /// For launchers: the block of `bytes` at `address`, which nobody else uses until `home` has it back.
    pub fn new(address: u64, bytes: usize, home: Arc<dyn Home>) -> Memory {
        Memory { address, bytes, home }
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.home.take_back(self.address, self.bytes);
    }
}
