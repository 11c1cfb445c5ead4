//! A CUDA device through its driver, opened when asked and never needed: `libcuda` is found at run time.
//!
//! One [`Device`] is one stream of work with its own pool of memory, on the first device there is. A second one beside it
//! runs beside it.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::{
    self, DriverError, ctx, device, module, primary_ctx,
    stream::{self, StreamKind},
};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};

use super::code::{MODULES, NEEDS_CAPABILITY, NEEDS_DRIVER, kernels};
use super::pool::Pool;
use super::{Argument, Array, DeviceError, Home, Launcher, Memory, Shape};

/// The first CUDA device, ready to run every kernel.
#[derive(Debug)]
pub struct Device {
    place: Arc<Place>,
    functions: HashMap<&'static str, Function>,
    name: String,
    capability: (i32, i32),
}

/// The context of a device, a stream in it and the memory that belongs to both.
#[derive(Debug)]
struct Place {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    idle: Mutex<Pool<u64>>,
    allocations: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: handles of the driver may be used from any thread once the context is made current there, which every use does.
unsafe impl Send for Place {}
// SAFETY: as above; the driver locks its own state, the pool has its mutex.
unsafe impl Sync for Place {}
// SAFETY: as above; a function lives as long as its module, which is never unloaded.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Device {
    /// Opens the first device and brings every kernel to it. Takes seconds the first time: the driver compiles, and keeps
    /// what it compiled for the next start.
    pub fn open() -> Result<Device, DeviceError> {
        // SAFETY: loading libcuda runs its initialisers, as every CUDA program does.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::NoDriver);
        }
        old_driver(driver_version()?)?;
        let none = |error: DriverError| DeviceError::NoDevice(text(error.0));
        result::init().map_err(none)?;
        if device::get_count().map_err(none)? == 0 {
            return Err(DeviceError::NoDevice("it counts none".into()));
        }
        let first = device::get(0).map_err(none)?;
        let name = device::get_name(first).map_err(none)?;
        let capability = capability(first).map_err(none)?;
        if capability < NEEDS_CAPABILITY {
            return Err(DeviceError::OldDevice { name, has: capability, needs: NEEDS_CAPABILITY });
        }
        let place = Arc::new(Place::new(first)?);
        let functions = load()?;
        Ok(Device { place, functions, name, capability })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Major and minor compute capability.
    pub fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// The CUDA version that its driver serves: 12060 is 12.6.
    pub fn driver(&self) -> Result<i32, DeviceError> {
        driver_version()
    }

    /// How many times memory was asked of the driver so far. A job after the first of its size adds none.
    pub fn allocations(&self) -> usize {
        self.place.allocations.load(Ordering::Relaxed)
    }

    /// Copies the bytes of one array to another as long: what the speed of every kernel is measured by.
    pub fn copy(&self, from: &Array<u8>, to: &mut Array<u8>) -> Result<(), DeviceError> {
        if from.len() != to.len() {
            let text = format!("{} bytes to {}", from.len(), to.len());
            return Err(DeviceError::Refused { during: "a copy".into(), text });
        }
        self.place.enter("a copy")?;
        let (from, bytes) = (from.address(), from.len());
        // SAFETY: two arrays of `bytes` bytes each, and the stream is their own.
        unsafe { result::memcpy_dtod_async(to.address(), from, bytes, self.place.stream) }
            .map_err(during("a copy"))
    }

    /// Waits until everything launched is done.
    pub fn wait(&self) -> Result<(), DeviceError> {
        self.place.enter("waiting")?;
        // SAFETY: the stream is this place's and alive.
        unsafe { stream::synchronize(self.place.stream) }.map_err(during("waiting"))
    }
}

impl Launcher for Device {
    fn allocate(&self, bytes: usize) -> Result<Memory, DeviceError> {
        self.place.enter("allocating")?;
        let (bytes, address) = self.place.take(bytes)?;
        Ok(Memory::new(address, bytes, Arc::<Place>::clone(&self.place)))
    }

    fn upload(&self, bytes: &[u8], to: &mut Memory) -> Result<(), DeviceError> {
        fits(bytes.len(), to)?;
        self.place.enter("an upload")?;
        // SAFETY: `to` is as long as asked for above and the stream is its own. From memory the driver did not pin it has
        // read everything when it returns.
        unsafe { result::memcpy_htod_async(to.address(), bytes, self.place.stream) }
            .map_err(during("an upload"))
    }

    fn download(&self, from: &Memory, to: &mut [u8]) -> Result<(), DeviceError> {
        fits(to.len(), from)?;
        self.place.enter("a download")?;
        // SAFETY: `from` is as long as asked for above and the stream is its own; `to` is not touched before the wait ends.
        unsafe { result::memcpy_dtoh_async(to, from.address(), self.place.stream) }
            .map_err(during("a download"))?;
        self.wait()
    }

    fn fill(&self, memory: &mut Memory, byte: u8) -> Result<(), DeviceError> {
        self.place.enter("a fill")?;
        let stream = self.place.stream;
        // SAFETY: the block is as long as it says, and the stream is its own.
        unsafe { result::memset_d8_async(memory.address(), byte, memory.bytes(), stream) }
            .map_err(during("a fill"))
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        shape: Shape,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        let Some(function) = self.functions.get(kernel) else {
            let text = "no module has it".into();
            return Err(DeviceError::Refused { during: kernel.into(), text });
        };
        self.place.enter("a launch")?;
        let mut bits: Vec<u64> = arguments.iter().map(|a| a.bits).collect();
        // The driver reads as many low bytes of each as the parameter has.
        let mut pointers: Vec<*mut c_void> =
            bits.iter_mut().map(|bits| std::ptr::from_mut(bits).cast()).collect();
        let [x, y, z] = shape.blocks;
        // SAFETY: the function belongs to a module of this context that is never unloaded; the caller vouches for the
        // arguments, which the driver copies before it returns.
        unsafe {
            result::launch_kernel(
                function.0,
                (x, y, z),
                (shape.threads, 1, 1),
                shape.shared_bytes,
                self.place.stream,
                &mut pointers,
            )
        }
        .map_err(|error| match explained(error.0, "a launch") {
            DeviceError::Refused { text, .. } => {
                DeviceError::Refused { during: kernel.into(), text }
            }
            other => other,
        })
    }
}

impl Place {
    fn new(device: sys::CUdevice) -> Result<Place, DeviceError> {
        // SAFETY: the device comes from the driver.
        let context = unsafe { primary_ctx::retain(device) }.map_err(during("opening"))?;
        let none = std::ptr::null_mut();
        let mut place = Place {
            device,
            context,
            stream: none,
            idle: Mutex::default(),
            allocations: AtomicUsize::new(0),
        };
        place.enter("opening")?;
        place.stream = stream::create(StreamKind::NonBlocking).map_err(during("opening"))?;
        Ok(place)
    }

    /// Makes the context that of the calling thread.
    fn enter(&self, what: &'static str) -> Result<(), DeviceError> {
        // SAFETY: the context was retained and is released in `drop` only.
        unsafe { ctx::set_current(self.context) }.map_err(during(what))
    }

    /// An idle block of at least `bytes`, or a new one. Work in the stream that still uses an idle block comes before any
    /// of its next owner.
    fn take(&self, bytes: usize) -> Result<(usize, u64), DeviceError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = idle.take(bytes) {
            return Ok(block);
        }
        let bytes = Pool::<u64>::rounded(bytes);
        // SAFETY: the context is current.
        let mut made = unsafe { result::malloc_sync(bytes) };
        if matches!(made, Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY))) {
            for address in idle.drain() {
                // SAFETY: idle blocks are nobody's; the driver waits for work that still uses them.
                let _ = unsafe { result::free_sync(address) };
            }
            // SAFETY: as above.
            made = unsafe { result::malloc_sync(bytes) };
        }
        self.allocations.fetch_add(1, Ordering::Relaxed);
        match made {
            Ok(address) => Ok((bytes, address)),
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                Err(DeviceError::OutOfMemory { during: format!("{bytes} bytes more") })
            }
            Err(error) => Err(explained(error.0, "allocating")),
        }
    }
}

impl Home for Place {
    fn take_back(&self, address: u64, bytes: usize) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).give(bytes, address);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Of a lost device nothing can be freed; what fails here is freed with the process.
        let _ = self.enter("closing");
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: every block is idle, or it would hold this place; nothing else knows the stream or this retained context.
        unsafe {
            for address in idle.drain() {
                let _ = result::free_sync(address);
            }
            if !self.stream.is_null() {
                let _ = stream::destroy(self.stream);
            }
            let _ = primary_ctx::release(self.device);
        }
    }
}

/// Compiles every module for the current context, and finds its kernels.
fn load() -> Result<HashMap<&'static str, Function>, DeviceError> {
    let mut functions = HashMap::new();
    for (_, ptx) in MODULES {
        let text = CString::new(*ptx).map_err(|error| refused("loading", &error))?;
        // SAFETY: PTX text that ends with 0.
        let module = unsafe { module::load_data(text.as_ptr().cast()) };
        let module = module.map_err(during("loading"))?;
        for name in kernels(ptx) {
            let symbol = CString::new(name).map_err(|error| refused("loading", &error))?;
            // SAFETY: the module was loaded above and stays.
            let function = unsafe { module::get_function(module, symbol) };
            functions.insert(name, Function(function.map_err(during("loading"))?));
        }
    }
    Ok(functions)
}

fn driver_version() -> Result<i32, DeviceError> {
    let mut version = 0;
    // SAFETY: writes one number; needs no initialisation.
    let result = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    result.result().map_err(|error| DeviceError::NoDevice(text(error.0)))?;
    Ok(version)
}

fn old_driver(has: i32) -> Result<(), DeviceError> {
    if has >= NEEDS_DRIVER {
        return Ok(());
    }
    Err(DeviceError::OldDriver { has, needs: NEEDS_DRIVER })
}

fn capability(device: sys::CUdevice) -> Result<(i32, i32), DriverError> {
    use CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    // SAFETY: the device comes from the driver.
    unsafe { Ok((device::get_attribute(device, MAJOR)?, device::get_attribute(device, MINOR)?)) }
}

fn fits(bytes: usize, memory: &Memory) -> Result<(), DeviceError> {
    if bytes <= memory.bytes() {
        return Ok(());
    }
    let text = format!("{bytes} bytes, the block has {}", memory.bytes());
    Err(DeviceError::Refused { during: "a copy".into(), text })
}

fn refused(what: &str, error: &dyn std::error::Error) -> DeviceError {
    DeviceError::Refused { during: what.into(), text: error.to_string() }
}

fn during(what: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| explained(error.0, what)
}

/// What a result of the driver means for us.
fn explained(result: CUresult, during: &'static str) -> DeviceError {
    use CUresult as R;
    match result {
        R::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory { during: during.into() },
        // After these the context answers every call with the same.
        R::CUDA_ERROR_ILLEGAL_ADDRESS
        | R::CUDA_ERROR_MISALIGNED_ADDRESS
        | R::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | R::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | R::CUDA_ERROR_INVALID_PC
        | R::CUDA_ERROR_HARDWARE_STACK_ERROR
        | R::CUDA_ERROR_LAUNCH_FAILED
        | R::CUDA_ERROR_LAUNCH_TIMEOUT
        | R::CUDA_ERROR_ECC_UNCORRECTABLE
        | R::CUDA_ERROR_DEVICE_UNAVAILABLE
        | R::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | R::CUDA_ERROR_DEINITIALIZED
        | R::CUDA_ERROR_UNKNOWN => DeviceError::Lost { during, text: text(result) },
        _ => DeviceError::Refused { during: during.into(), text: text(result) },
    }
}

/// The name of a result, which needs no driver to tell.
fn text(result: CUresult) -> String {
    format!("{result:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_told_by_both_versions() {
        let error = old_driver(11_040).unwrap_err();
        assert_eq!(error.to_string(), "the CUDA driver speaks version 11.4, the kernels need 12.6");
        assert_eq!(old_driver(12_060), Ok(()));
        assert_eq!(old_driver(13_000), Ok(()));
    }

    #[test]
    fn a_lost_device_is_not_our_bug() {
        let lost = explained(CUresult::CUDA_ERROR_LAUNCH_FAILED, "a launch");
        assert!(matches!(lost, DeviceError::Lost { .. }), "{lost}");
        let refused = explained(CUresult::CUDA_ERROR_INVALID_VALUE, "a launch");
        assert!(matches!(refused, DeviceError::Refused { .. }), "{refused}");
    }

    #[test]
    fn every_module_names_its_kernels() {
        for (name, ptx) in MODULES {
            assert!(kernels(ptx).count() > 0, "{name}");
        }
    }
}
