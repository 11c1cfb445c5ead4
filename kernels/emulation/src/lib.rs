//! The CUDA kernels on the processor: [`Emulator`] is a `Launcher` for tests, [`compiler`] asks NVIDIA's compiler what
//! a device would make of the same sources. No part of the product.
//!
//! `cuda_emulation.h` says what the emulation finds. With `SAGITTA_EMULATION=sanitized` the libraries built with the
//! address and undefined-behaviour sanitizers run instead; their run-time must then be loaded first ([`sanitizer`]).
//! `SAGITTA_EMULATION_FOLDER` says where the libraries are if they were moved to another machine than they were built on.

#![allow(unsafe_code)]

pub mod compiler;

use std::alloc::Layout;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use kernels::cuda::pool::Pool;
use kernels::cuda::{Argument, DeviceError, Home, Launcher, Memory, Shape};
use libloading::Library;

/// Kernels, and memory of their own.
#[derive(Debug)]
pub struct Emulator {
    library: &'static Library,
    order: u32,
    blocks: Arc<Blocks>,
}

/// As `emulation::Shape` in `cuda_emulation.h`.
#[repr(C)]
struct EmulatedShape {
    blocks: [u32; 3],
    threads: u32,
    shared_bytes: u32,
    order: u32,
}

type Emulated = unsafe extern "C" fn(
    *const *const c_void,
    *const usize,
    u32,
    *const EmulatedShape,
) -> *const c_char;

impl Emulator {
    /// The kernels of `cu/`, whose threads run in `order`: 0 ascending, 1 descending, beyond that a seed by which they also
    /// change places at atomics.
    pub fn new(order: u32) -> Emulator {
        Emulator::of(kernels_library(), order, None)
    }

    /// The same with memory from a pool, as on a device.
    pub fn pooled() -> Emulator {
        Emulator::of(kernels_library(), 0, Some(Mutex::default()))
    }

    /// The faulty kernels of `planted/`.
    pub fn planted(order: u32) -> Emulator {
        Emulator::of(planted_library(), order, None)
    }

    /// How many blocks of memory were made so far.
    pub fn allocations(&self) -> usize {
        self.blocks.made.load(Ordering::Relaxed)
    }

    fn of(library: &'static Library, order: u32, idle: Option<Mutex<Pool<u64>>>) -> Emulator {
        // The sanitizer keeps watch behind each block by itself, if nothing of ours lies there.
        let guard = if sanitized() { 0 } else { GUARD };
        let blocks = Blocks { live: Mutex::default(), idle, guard, made: AtomicUsize::new(0) };
        Emulator { library, order, blocks: Arc::new(blocks) }
    }
}

/// Whether the libraries with the sanitizers run: everything then takes ten times as long.
pub fn sanitized() -> bool {
    std::env::var_os("SAGITTA_EMULATION").is_some_and(|value| value == "sanitized")
}

/// Where this crate's libraries are, among them a `libcuda.so.1` whose device is the processor.
pub fn folder() -> PathBuf {
    let moved = std::env::var_os("SAGITTA_EMULATION_FOLDER");
    moved.map_or_else(|| PathBuf::from(env!("OUT_DIR")), PathBuf::from)
}

/// A library of this crate's build. Opened once and never closed: it keeps stacks for the threads of its blocks.
fn library(set: &str) -> Library {
    let kind = if sanitized() { "-sanitized" } else { "" };
    let path = folder().join(format!("lib{set}{kind}.so"));
    // SAFETY: made by this crate's build; its initialisers only set up empty containers.
    let library = unsafe { Library::new(&path) };
    library.unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
}

fn kernels_library() -> &'static Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(|| library("kernels"));
    &LIBRARY
}

fn planted_library() -> &'static Library {
    static LIBRARY: LazyLock<Library> = LazyLock::new(|| library("planted"));
    &LIBRARY
}

/// The run-time library of the address sanitizer, to be preloaded.
pub fn sanitizer() -> PathBuf {
    let asked = std::process::Command::new("g++").arg("-print-file-name=libasan.so").output();
    let output = asked.expect("g++ built this crate");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// Bytes behind each block that must stay as they are.
const GUARD: usize = 64;
/// What fresh memory and guards hold: no number that makes sense, no valid index.
const GARBAGE: u8 = 0xA5;
/// Alignment of `cuMemAlloc`.
const ALIGNMENT: usize = 256;

/// The memory that is lent.
#[derive(Debug)]
struct Blocks {
    live: Mutex<HashMap<u64, usize>>,
    idle: Option<Mutex<Pool<u64>>>,
    guard: usize,
    made: AtomicUsize,
}

impl Blocks {
    fn layout(&self, bytes: usize) -> Layout {
        Layout::from_size_align(bytes + self.guard, ALIGNMENT).expect("far below the address space")
    }

    fn make(&self, bytes: usize) -> u64 {
        let layout = self.layout(bytes);
        // SAFETY: no array is of no bytes.
        let block = unsafe { std::alloc::alloc(layout) };
        assert!(!block.is_null(), "no memory for {bytes} bytes");
        // SAFETY: the whole block just made.
        unsafe { block.write_bytes(GARBAGE, layout.size()) };
        self.made.fetch_add(1, Ordering::Relaxed);
        self.live().insert(block as u64, bytes);
        block as u64
    }

    fn free(&self, address: u64, bytes: usize) {
        self.live().remove(&address);
        // SAFETY: made by `make` with these bytes, and given back once.
        unsafe { std::alloc::dealloc(address as *mut u8, self.layout(bytes)) };
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<u64, usize>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a kernel wrote behind a block.
    fn overrun(&self) -> bool {
        self.live().iter().any(|(&address, &bytes)| {
            // SAFETY: a live block with its guard.
            let block =
                unsafe { std::slice::from_raw_parts(address as *const u8, bytes + self.guard) };
            block[bytes..].iter().any(|&byte| byte != GARBAGE)
        })
    }
}

impl Home for Blocks {
    fn take_back(&self, address: u64, bytes: usize) {
        match &self.idle {
            Some(idle) => {
                idle.lock().unwrap_or_else(PoisonError::into_inner).give(bytes, address);
            }
            None => self.free(address, bytes),
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let left: Vec<(u64, usize)> = self.live().iter().map(|(&a, &bytes)| (a, bytes)).collect();
        left.into_iter().for_each(|(address, bytes)| self.free(address, bytes));
    }
}

impl Launcher for Emulator {
    fn allocate(&self, bytes: usize) -> Result<Memory, DeviceError> {
        let home = Arc::<Blocks>::clone(&self.blocks);
        let Some(idle) = &self.blocks.idle else {
            return Ok(Memory::new(self.blocks.make(bytes), bytes, home));
        };
        let found = idle.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        let (bytes, address) = found.unwrap_or_else(|| {
            let bytes = Pool::<u64>::rounded(bytes);
            (bytes, self.blocks.make(bytes))
        });
        Ok(Memory::new(address, bytes, home))
    }

    fn upload(&self, bytes: &[u8], to: &mut Memory) -> Result<(), DeviceError> {
        assert!(bytes.len() <= to.bytes(), "upload of {} bytes", bytes.len());
        // SAFETY: a live block of this emulator, longer than `bytes`.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.address() as *mut u8, bytes.len())
        };
        Ok(())
    }

    fn download(&self, from: &Memory, to: &mut [u8]) -> Result<(), DeviceError> {
        assert!(to.len() <= from.bytes(), "download of {} bytes", to.len());
        // SAFETY: as above.
        unsafe {
            std::ptr::copy_nonoverlapping(from.address() as *const u8, to.as_mut_ptr(), to.len())
        };
        Ok(())
    }

    fn fill(&self, memory: &mut Memory, byte: u8) -> Result<(), DeviceError> {
        // SAFETY: a live block of this emulator.
        unsafe { (memory.address() as *mut u8).write_bytes(byte, memory.bytes()) };
        Ok(())
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        shape: Shape,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        let refused = |text: String| DeviceError::Refused { during: kernel.into(), text };
        let symbol = format!("emulated_{kernel}");
        // SAFETY: every symbol of this form has this type.
        let function = unsafe { self.library.get::<Emulated>(symbol.as_bytes()) };
        let function = function.map_err(|_| refused("no source has it".into()))?;
        let pointers: Vec<*const c_void> =
            arguments.iter().map(|a| std::ptr::from_ref(&a.bits).cast()).collect();
        let sizes: Vec<usize> = arguments.iter().map(|a| a.bytes).collect();
        let Shape { blocks, threads, shared_bytes } = shape;
        let shape = EmulatedShape { blocks, threads, shared_bytes, order: self.order };
        // SAFETY: pointers and sizes are as many as said; the function compares them with the kernel's parameters. The
        // caller vouches for addresses.
        let fault = unsafe {
            function(pointers.as_ptr(), sizes.as_ptr(), sizes.len() as u32, &raw const shape)
        };
        if !fault.is_null() {
            // SAFETY: a message is a constant of the library.
            return Err(refused(unsafe { CStr::from_ptr(fault) }.to_string_lossy().into_owned()));
        }
        if self.blocks.overrun() {
            return Err(refused("it wrote behind an array".into()));
        }
        Ok(())
    }
}
