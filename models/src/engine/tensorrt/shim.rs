//! The shim (`models/tensorrt/sagitta_tensorrt.h`), made safe: this file alone knows pointers.
//!
//! Owners keep what they came from alive: a [`LoadedNet`] its [`Library`], both the shim's code. Nothing can be
//! used after it was freed, and nothing of one library reaches another. No handle is `Sync`: one thread at a time.
#![allow(unsafe_code)]

use super::Device;
use crate::engine::trouble::{State, Trouble};
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, Mutex, PoisonError};

/// `SAGITTA_TRT_ABI`: the interface this file speaks.
pub const ABI: i32 = 1;
/// `SAGITTA_TRT_TEXT`: the longest reason, with its zero.
const TEXT: usize = 512;
/// Bindings listed; our nets have two.
const MAX_TENSORS: usize = 8;

/// `sagitta_trt_device`.
#[repr(C)]
struct RawDevice {
    name: [c_char; 256],
    driver: i32,
    memory_bytes: u64,
}

/// `sagitta_trt_tensor`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawTensor {
    name: [c_char; 128],
    is_input: i32,
    is_float32: i32,
    rank: i32,
    dims: [i64; 8],
}

/// `sagitta_trt_range`: smallest, usual and largest shape of the input.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub least: [i64; 4],
    pub usual: [i64; 4],
    pub most: [i64; 4],
}

/// A handle of the shim, whose kind only its functions know.
type Handle = *mut c_void;
type Text = *mut c_char;
type Progress = extern "C" fn(*mut c_void, *const c_char, i32, i32);
type Open = unsafe extern "C" fn(*const c_char, *const c_char, *mut Handle, Text) -> i32;
type Build = unsafe extern "C" fn(
    Handle,
    *const u8,
    usize,
    *const Range,
    u64,
    Progress,
    *mut c_void,
    *mut Handle,
    Text,
) -> i32;
type Load = unsafe extern "C" fn(Handle, *const u8, usize, *mut Handle, Text) -> i32;
type Run = unsafe extern "C" fn(Handle, *const f32, *const [i64; 4], *mut f32, usize, Text) -> i32;

/// The shim's functions, found by name.
struct Functions {
    built_for: unsafe extern "C" fn() -> i32,
    open: Open,
    close: unsafe extern "C" fn(Handle),
    version: unsafe extern "C" fn(Handle) -> i32,
    take_device: unsafe extern "C" fn(Handle, *mut RawDevice, Text) -> i32,
    build: Build,
    plan_data: unsafe extern "C" fn(Handle) -> *const u8,
    plan_bytes: unsafe extern "C" fn(Handle) -> usize,
    plan_free: unsafe extern "C" fn(Handle),
    load: Load,
    unload: unsafe extern "C" fn(Handle),
    tensors: unsafe extern "C" fn(Handle, *mut RawTensor, i32) -> i32,
    run: Run,
    /// Keeps the code in memory that the pointers above are in.
    _code: libloading::Library,
}

/// A shim in memory.
pub struct Shim(Arc<Functions>);

impl std::fmt::Debug for Shim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shim for TensorRT {}", dotted(self.built_for()))
    }
}

impl Shim {
    /// Loads `path`. A file that is no shim of this release is a named state.
    pub fn load(path: &Path) -> Result<Shim, Trouble> {
        let failed = |state, what: String| {
            Trouble::new(state, format!("the shim {} cannot be used: {what}", path.display()))
        };
        // SAFETY: the file is one that our package installs; its initialisers are those of the C++ runtime.
        let code = unsafe { libloading::Library::new(path) };
        let code = code.map_err(|error| failed(State::NoShim, reasons(&error)))?;
        /// Finds a function of the shim, whose type the field names.
        macro_rules! find {
            ($name:literal) => {{
                // SAFETY: the header declares this name with the type of the field; the ABI number vouches that the
                // library was built from this header.
                let symbol = unsafe { code.get(concat!("sagitta_trt_", $name).as_bytes()) };
                *symbol.map_err(|error| failed(State::OtherShim, reasons(&error)))?
            }};
        }
        let abi: unsafe extern "C" fn() -> i32 = find!("abi");
        // SAFETY: takes nothing, touches nothing.
        let found = unsafe { abi() };
        if found != ABI {
            let what = format!("it speaks version {found} of our interface, this release {ABI}");
            return Err(failed(State::OtherShim, what));
        }
        Ok(Shim(Arc::new(Functions {
            built_for: find!("built_for"),
            open: find!("open"),
            close: find!("close"),
            version: find!("version"),
            take_device: find!("take_device"),
            build: find!("build"),
            plan_data: find!("plan_data"),
            plan_bytes: find!("plan_bytes"),
            plan_free: find!("plan_free"),
            load: find!("load"),
            unload: find!("unload"),
            tensors: find!("tensors"),
            run: find!("run"),
            _code: code,
        })))
    }

    /// The TensorRT whose headers it was built with.
    pub fn built_for(&self) -> i32 {
        // SAFETY: takes nothing, touches nothing.
        unsafe { (self.0.built_for)() }
    }

    /// Opens TensorRT and its parser by their names for the dynamic linker. Needs no GPU.
    pub fn open(&self, tensorrt: &str, parser: &str) -> Result<Library, Trouble> {
        let [tensorrt, parser] = [tensorrt, parser].map(c_text);
        let mut handle = null_mut();
        answered(|error| {
            // SAFETY: both texts end with a zero and live over the call, `error` has its room.
            unsafe { (self.0.open)(tensorrt.as_ptr(), parser.as_ptr(), &mut handle, error) }
        })?;
        Ok(Library { functions: self.0.clone(), handle: given(handle)? })
    }
}

/// An opened TensorRT.
pub struct Library {
    functions: Arc<Functions>,
    handle: NonNull<c_void>,
}

// SAFETY: the shim keeps no thread's own state: it takes the device's context for each call anew.
unsafe impl Send for Library {}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TensorRT {}", dotted(self.version()))
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: opened once, freed once; every net of it holds an `Arc` and is gone.
        unsafe { (self.functions.close)(self.handle.as_ptr()) }
    }
}

impl Library {
    /// As NVIDIA counts: 100300 is 10.3.0.
    pub fn version(&self) -> i32 {
        // SAFETY: the handle is open as long as `self`.
        unsafe { (self.functions.version)(self.handle.as_ptr()) }
    }

    /// Takes the first GPU; nets need it, and so does building unless TensorRT builds without.
    pub fn take_device(&mut self) -> Result<Device, Trouble> {
        let mut raw = RawDevice { name: [0; 256], driver: 0, memory_bytes: 0 };
        answered(|error| {
            // SAFETY: the handle is open, `raw` has the header's layout, `error` its room.
            unsafe { (self.functions.take_device)(self.handle.as_ptr(), &mut raw, error) }
        })?;
        let (name, memory_bytes) = (text_of(&raw.name), raw.memory_bytes);
        Ok(Device { name, driver: raw.driver, memory_bytes })
    }

    /// Builds a plan. `tell` hears the phase in TensorRT's words, and how many of its steps are done.
    pub fn build(
        &mut self,
        onnx: &[u8],
        range: &Range,
        workspace_bytes: u64,
        tell: &mut (dyn FnMut(&str, i32, i32) + Send),
    ) -> Result<Vec<u8>, Trouble> {
        let functions = &self.functions;
        let mut teller = Teller(tell);
        let mut plan = null_mut();
        answered(|error| {
            let user: *mut Teller<'_> = &mut teller;
            // SAFETY: the handle is open; `onnx`, `range` and `teller` live over the call, in which alone `progress` is
            // called, by one thread at a time (the shim locks).
            unsafe {
                (functions.build)(
                    self.handle.as_ptr(),
                    onnx.as_ptr(),
                    onnx.len(),
                    range,
                    workspace_bytes,
                    progress,
                    user.cast(),
                    &mut plan,
                    error,
                )
            }
        })?;
        let plan = given(plan)?.as_ptr();
        // SAFETY: the plan is valid until it is freed below, and its data has as many bytes as it says.
        let bytes = unsafe {
            let data = (functions.plan_data)(plan);
            std::slice::from_raw_parts(data, (functions.plan_bytes)(plan)).to_vec()
        };
        // SAFETY: given once, freed once.
        unsafe { (functions.plan_free)(plan) };
        Ok(bytes)
    }
}

/// A binding of a net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub is_input: bool,
    pub is_float32: bool,
    /// -1 where the range of the plan leaves it open.
    pub dims: Vec<i64>,
}

/// A library that nets share; one of them at a time loads.
pub type Shared = Arc<Mutex<Library>>;

/// A net on the device.
pub struct LoadedNet {
    handle: NonNull<c_void>,
    functions: Arc<Functions>,
    /// The device's context is the library's.
    _library: Shared,
}

// SAFETY: as for `Library`; the net is used through `&mut` only.
unsafe impl Send for LoadedNet {}

impl std::fmt::Debug for LoadedNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoadedNet({:?})", self.tensors())
    }
}

impl Drop for LoadedNet {
    fn drop(&mut self) {
        // SAFETY: loaded once, freed once, before the library that it holds.
        unsafe { (self.functions.unload)(self.handle.as_ptr()) }
    }
}

impl LoadedNet {
    /// Loads a plan onto the device that `library` took.
    pub fn load(library: &Shared, plan: &[u8]) -> Result<LoadedNet, Trouble> {
        let held = library.lock().unwrap_or_else(PoisonError::into_inner);
        let mut handle = null_mut();
        answered(|error| {
            let (library, bytes) = (held.handle.as_ptr(), plan.len());
            // SAFETY: the handle is open, `plan` lives over the call, after which the shim needs it no more.
            unsafe { (held.functions.load)(library, plan.as_ptr(), bytes, &mut handle, error) }
        })?;
        let (handle, functions) = (given(handle)?, held.functions.clone());
        Ok(LoadedNet { handle, functions, _library: library.clone() })
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        let empty = RawTensor { name: [0; 128], is_input: 0, is_float32: 0, rank: 0, dims: [0; 8] };
        let mut raw = [empty; MAX_TENSORS];
        // SAFETY: the handle is loaded; the shim writes at most as many as there is room for.
        let count = unsafe {
            (self.functions.tensors)(self.handle.as_ptr(), raw.as_mut_ptr(), MAX_TENSORS as i32)
        };
        let count = usize::try_from(count).unwrap_or(0).min(MAX_TENSORS);
        let tensor = |raw: &RawTensor| Tensor {
            name: text_of(&raw.name),
            is_input: raw.is_input != 0,
            is_float32: raw.is_float32 != 0,
            dims: raw.dims.iter().copied().take(raw.rank.clamp(0, 8) as usize).collect(),
        };
        raw[..count].iter().map(tensor).collect()
    }

    /// Runs the net; the output is whole when it returns.
    pub fn run(
        &mut self,
        input: &[f32],
        shape: [usize; 4],
        output: &mut [f32],
    ) -> Result<(), Trouble> {
        let values = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if values != Some(input.len()) {
            let text = format!("{} values are no tensor of shape {shape:?}", input.len());
            return Err(Trouble::new(State::Shape, text));
        }
        let shape = shape.map(|side| side as i64);
        answered(|error| {
            // SAFETY: the handle is loaded; `input` has the product of `shape` values, as was checked, and the shim
            // refuses an output whose size is not that of the plan's.
            unsafe {
                (self.functions.run)(
                    self.handle.as_ptr(),
                    input.as_ptr(),
                    &shape,
                    output.as_mut_ptr(),
                    output.len(),
                    error,
                )
            }
        })
    }
}

/// What a build tells, as one pointer.
struct Teller<'a>(&'a mut (dyn FnMut(&str, i32, i32) + Send));

extern "C" fn progress(user: *mut c_void, phase: *const c_char, done: i32, steps: i32) {
    // SAFETY: `user` is the `Teller` of the build that calls, alone; the phase is a text of the shim.
    let (teller, phase) = unsafe { (&mut *user.cast::<Teller<'_>>(), CStr::from_ptr(phase)) };
    (teller.0)(&phase.to_string_lossy(), done, steps);
}

/// Calls the shim with room for its reason, and turns its code into a state.
fn answered(call: impl FnOnce(Text) -> i32) -> Result<(), Trouble> {
    let mut text = [0 as c_char; TEXT];
    let code = call(text.as_mut_ptr());
    let state = match code {
        0 => return Ok(()),
        1 => State::NoLibrary,
        2 => State::WrongVersion,
        3 => State::NoDriver,
        4 => State::OldDriver,
        5 => State::NoDevice,
        7 => State::CorruptPlan,
        8 => State::Shape,
        9 => State::OutOfMemory,
        10 => State::DeviceLost,
        _ => State::NotBuilt,
    };
    Err(Trouble::new(state, text_of(&text)))
}

/// An error with all its causes: the linker's own words are the last.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A handle that a successful call must have given.
fn given(handle: Handle) -> Result<NonNull<c_void>, Trouble> {
    let missing = || Trouble::new(State::OtherShim, "the shim answered well and gave nothing");
    NonNull::new(handle).ok_or_else(missing)
}

/// The text up to the first zero, or all of it.
fn text_of(raw: &[c_char]) -> String {
    let bytes: Vec<u8> = raw.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text for C; cut at a zero, which no library's name has.
fn c_text(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// A version as people write it: `10.3.0`.
pub fn dotted(version: i32) -> String {
    // TensorRT counts in ten thousands since 10, in thousands before.
    let unit = if version >= 10_000 { 10_000 } else { 1000 };
    let (major, rest) = (version / unit, version % unit);
    format!("{major}.{}.{}", rest / 100, rest % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_as_nvidia_writes_them() {
        let versions = [100_300, 101_303, 110_401, 10_701, 8601].map(dotted);
        assert_eq!(versions, ["10.3.0", "10.13.3", "11.4.1", "1.7.1", "8.6.1"]);
    }

    #[test]
    fn a_missing_shim_and_a_library_that_is_none_are_named_states() {
        let trouble = Shim::load(Path::new("/nowhere/libsagitta_tensorrt10.so")).unwrap_err();
        assert_eq!(trouble.state, State::NoShim);
        assert!(trouble.text.contains("/nowhere/libsagitta_tensorrt10.so"), "{trouble}");
        let trouble = Shim::load(Path::new("libc.so.6")).unwrap_err();
        assert_eq!(trouble.state, State::OtherShim);
        assert!(trouble.text.contains("sagitta_trt_abi"), "{trouble}");
    }
}
