//! The functions of `sagitta_tensorrt.h`. Only this module of the mock knows pointers; `models` holds its side of the
//! contract: handles are those given here, lengths are true, texts end with a zero.
#![allow(unsafe_code)]

use crate::fault::{self, Answer, code};
use crate::nets::{Loaded, plan};
use std::ffi::{c_char, c_void};

/// `SAGITTA_TRT_ABI` and `SAGITTA_TRT_TEXT`.
const ABI: i32 = 1;
const TEXT: usize = 512;
/// The TensorRT it plays: 10.3.0, that of JetPack 6.2, with a driver of its CUDA and the memory of an Orin.
const VERSION: i32 = 100_300;
const DRIVER: i32 = 12_060;
const MEMORY_BYTES: u64 = 64 << 30;
/// Steps that it says a build has.
const STEPS: i32 = 4;

/// `sagitta_trt_device`.
#[repr(C)]
struct Device {
    name: [c_char; 256],
    driver: i32,
    memory_bytes: u64,
}

/// `sagitta_trt_tensor`.
#[repr(C)]
struct Tensor {
    name: [c_char; 128],
    is_input: i32,
    is_float32: i32,
    rank: i32,
    dims: [i64; 8],
}

/// A library that was opened; knows whether its device was taken.
struct Library {
    device: bool,
}

type Progress = extern "C" fn(*mut c_void, *const c_char, i32, i32);

fn put(text: &str, into: &mut [c_char]) {
    let room = into.len() - 1;
    let bytes = text.bytes().take(room).chain([0]);
    into.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte as c_char);
}

/// Writes what a call gave, or its reason; the code.
///
/// # Safety
/// `out` takes a `T`, `error` a text of `TEXT` bytes.
unsafe fn answer<T>(given: Answer<T>, out: *mut T, error: *mut c_char) -> i32 {
    match given {
        Ok(value) => {
            // SAFETY: the caller's.
            unsafe { out.write(value) };
            code::OK
        }
        Err((code, text)) => {
            // SAFETY: the caller's.
            put(&text, unsafe { std::slice::from_raw_parts_mut(error, TEXT) });
            code
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn sagitta_trt_abi() -> i32 {
    ABI
}

#[unsafe(no_mangle)]
extern "C" fn sagitta_trt_built_for() -> i32 {
    VERSION
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_open(
    _tensorrt: *const c_char,
    _parser: *const c_char,
    out: *mut *mut Library,
    error: *mut c_char,
) -> i32 {
    let opened = fault::at_open().map(|()| Box::into_raw(Box::new(Library { device: false })));
    // SAFETY: the header's contract.
    unsafe { answer(opened, out, error) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_close(library: *mut Library) {
    // SAFETY: given by `sagitta_trt_open`, freed once.
    drop(unsafe { Box::from_raw(library) });
}

#[unsafe(no_mangle)]
extern "C" fn sagitta_trt_version(_library: *const Library) -> i32 {
    VERSION
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_take_device(
    library: *mut Library,
    out: *mut Device,
    error: *mut c_char,
) -> i32 {
    let taken = fault::device().map(|name| {
        // SAFETY: given by `sagitta_trt_open` and not freed.
        unsafe { (*library).device = true };
        let mut device = Device { name: [0; 256], driver: DRIVER, memory_bytes: MEMORY_BYTES };
        put(&name, &mut device.name);
        device
    });
    // SAFETY: the header's contract.
    unsafe { answer(taken, out, error) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_build(
    _library: *mut Library,
    onnx: *const u8,
    bytes: usize,
    _range: *const c_void,
    _workspace_bytes: u64,
    progress: Progress,
    user: *mut c_void,
    out: *mut *mut Vec<u8>,
    error: *mut c_char,
) -> i32 {
    for step in 0..=STEPS {
        progress(user, c"Building Engine".as_ptr(), step, STEPS);
    }
    // SAFETY: the header's contract.
    let onnx = unsafe { std::slice::from_raw_parts(onnx, bytes) };
    let built = plan(onnx).map(|plan| Box::into_raw(Box::new(plan)));
    // SAFETY: the header's contract.
    unsafe { answer(built, out, error) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_plan_data(plan: *const Vec<u8>) -> *const u8 {
    // SAFETY: given by `sagitta_trt_build` and not freed.
    unsafe { (*plan).as_ptr() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_plan_bytes(plan: *const Vec<u8>) -> usize {
    // SAFETY: given by `sagitta_trt_build` and not freed.
    unsafe { (*plan).len() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_plan_free(plan: *mut Vec<u8>) {
    // SAFETY: given by `sagitta_trt_build`, freed once.
    drop(unsafe { Box::from_raw(plan) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_load(
    library: *mut Library,
    plan: *const u8,
    bytes: usize,
    out: *mut *mut Loaded,
    error: *mut c_char,
) -> i32 {
    // SAFETY: the header's contract.
    let (plan, device) = unsafe { (std::slice::from_raw_parts(plan, bytes), (*library).device) };
    let loaded = match device {
        true => Loaded::of(plan).map(|net| Box::into_raw(Box::new(net))),
        false => Err((code::NO_DEVICE, "no device was taken".to_owned())),
    };
    // SAFETY: the header's contract.
    unsafe { answer(loaded, out, error) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_unload(net: *mut Loaded) {
    // SAFETY: given by `sagitta_trt_load`, freed once.
    drop(unsafe { Box::from_raw(net) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_tensors(net: *const Loaded, out: *mut Tensor, room: i32) -> i32 {
    // SAFETY: given by `sagitta_trt_load` and not freed.
    let [inputs, outputs] = unsafe { (*net).channels() };
    let tensors = [("input", 1, inputs), ("logits", 0, outputs)];
    let rooms = usize::try_from(room).unwrap_or(0);
    for (at, (name, is_input, channels)) in tensors.into_iter().enumerate().take(rooms) {
        let dims = [-1, channels as i64, -1, -1, 0, 0, 0, 0];
        let mut tensor = Tensor { name: [0; 128], is_input, is_float32: 1, rank: 4, dims };
        put(name, &mut tensor.name);
        // SAFETY: the header's contract: there is room for `room` of them.
        unsafe { out.add(at).write(tensor) };
    }
    tensors.len() as i32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sagitta_trt_run(
    net: *mut Loaded,
    input: *const f32,
    shape: *const [i64; 4],
    output: *mut f32,
    output_values: usize,
    error: *mut c_char,
) -> i32 {
    // SAFETY: the header's contract; the input is as long as the shape says.
    let (net, input, shape, output) = unsafe {
        let shape = (*shape).map(|side| side as usize);
        (
            &mut *net,
            std::slice::from_raw_parts(input, shape.iter().product()),
            shape,
            std::slice::from_raw_parts_mut(output, output_values),
        )
    };
    let ran = net.run(input, shape, output);
    // SAFETY: the header's contract; nothing is written for `()`.
    unsafe { answer(ran, &mut (), error) }
}
