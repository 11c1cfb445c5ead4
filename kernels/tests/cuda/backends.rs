//! Where a case runs, and in which grids.

use std::io::Write;
use std::sync::OnceLock;

use emulation::{Emulator, sanitized};
use kernels::Grid;
use kernels::cuda::{Device, DeviceError, Launcher};

use crate::random::{Random, grids};

/// Orders of threads: as they come, backwards, and one of those that also change places at atomics.
const ORDERS: [u32; 3] = [0, 1, 7];

/// The device, where `SAGITTA_GPU` asks for it; says once which one, or that there is none.
pub(crate) fn device() -> Option<&'static Device> {
    static DEVICE: OnceLock<Result<Device, DeviceError>> = OnceLock::new();
    let asked = std::env::var_os("SAGITTA_GPU").is_some_and(|value| value == "1");
    let opened = DEVICE.get_or_init(|| {
        let opened = Device::open();
        let said = match &opened {
            Ok(device) => format!("{}, compute {:?}", device.name(), device.capability()),
            Err(error) => error.to_string(),
        };
        let runs = if asked { "runs the cases" } else { "not asked (SAGITTA_GPU=1)" };
        // Not through `println`, which the test's harness would keep to itself.
        std::io::stderr().write_all(format!("\ndevice: {said}; {runs}\n").as_bytes()).unwrap();
        opened
    });
    asked.then(|| opened.as_ref().unwrap_or_else(|error| panic!("SAGITTA_GPU=1, but {error}")))
}

/// Runs `check` in every order of the emulation, and on the device.
pub(crate) fn on_each(mut check: impl FnMut(&dyn Launcher, &str)) {
    // The sanitizers look at addresses, for which one order is as good as another.
    let orders = if sanitized() { &ORDERS[2..] } else { &ORDERS[..] };
    for &order in orders {
        check(&Emulator::new(order), &format!("emulated in order {order}"));
    }
    if let Some(device) = device() {
        check(device, device.name());
    }
}

/// One voxel, single rows and slices, primes, longer than a warp, more than one block.
pub(crate) const COUNTS: [[usize; 3]; 7] =
    [[1, 1, 1], [1, 1, 5], [7, 1, 1], [1, 6, 1], [13, 11, 1], [37, 3, 7], [9, 10, 6]];

/// Seeds of the suite: each has its own grids. Interrupting threads costs time, so fewer than on the processor.
const SEEDS: u64 = 4;

/// Runs `check` on every grid of several seeds; the text names the case.
pub(crate) fn over_grids(mut check: impl FnMut(&mut Random, Grid, &str)) {
    for seed in 0..if sanitized() { 1 } else { SEEDS } {
        let mut random = Random(seed);
        for grid in grids(&mut random, &COUNTS) {
            let case = format!("seed {seed}, {:?}", grid.dims.counts());
            check(&mut random, grid, &case);
        }
    }
}

/// More columns and rows than one block of any kernel takes at once, and no multiple of what it takes.
pub(crate) const WIDE: [usize; 3] = [140, 70, 2];

/// Runs `check` as [`over_grids`] does, and on a grid that several blocks share.
pub(crate) fn over_wide_grids(mut check: impl FnMut(&mut Random, Grid, &str)) {
    over_grids(&mut check);
    let mut random = Random(SEEDS);
    let grid = grids(&mut random, &[WIDE])[0];
    check(&mut random, grid, &format!("{WIDE:?}"));
}
