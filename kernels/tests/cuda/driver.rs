//! The way to a device through its driver, and what is told where the driver is missing, old or at its end: in child
//! processes whose `libcuda` is the emulation's (`emulation/driver.cpp`).

use std::process::{Command, Output};

use emulation::folder;
use kernels::components::Connectivity;
use kernels::cuda::{Array, Device, DeviceError, Launcher, components};
use kernels::morphology::Element;
use kernels::{Affine, Dims, Grid};

/// This test binary again, with the emulated driver, in which what `wrong` says is wrong.
fn with_driver(wrong: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(arguments).args(["--test-threads", "1"]);
    child.env("LD_LIBRARY_PATH", folder()).env("SAGITTA_DRIVER", wrong).env("SAGITTA_GPU", "1");
    child.output().unwrap()
}

#[test]
fn the_cases_pass_through_a_driver() {
    let output = with_driver("", &["--skip", "faults::", "--skip", "driver::"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{report}");
    assert!(report.contains("device: the processor, compute (8, 7); runs the cases"), "{report}");
    assert!(!text.contains(" 0 passed"), "no case ran:\n{text}");
}

/// What a child says whose driver is `wrong`.
fn told(wrong: &str) -> String {
    let output = with_driver(wrong, &["--exact", "driver::child", "--nocapture"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{wrong}: {text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn every_state_of_a_driver_has_its_words() {
    for (wrong, words) in [
        ("version=11040", "speaks version 11.4, the kernels need 12.6"),
        ("devices=0", "the CUDA driver finds no device: CUDA_ERROR_NO_DEVICE"),
        ("capability=75", "the processor has compute capability 7.5, the kernels need 8.0"),
        ("memory=4096", "the memory of the device does not suffice for 9472 bytes more"),
        ("lost=2", "the device was lost during a launch: CUDA_ERROR_LAUNCH_FAILED"),
        ("", "done twice, 0 blocks of memory more"),
    ] {
        let text = told(wrong);
        assert!(text.contains(words), "{wrong}: {text}");
    }
}

/// A job, twice.
fn job() -> Result<usize, DeviceError> {
    let device = Device::open()?;
    let on: &dyn Launcher = &device;
    let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let affine = Affine::new(axes, [0.0; 3]).unwrap();
    let grid = Grid { dims: Dims::new([47, 50, 4]).unwrap(), affine };
    let element = Element::new(Connectivity::Faces6);
    let once = || {
        let map = Array::of(on, &vec![1u8; grid.dims.voxels()])?;
        let parts = components::label(on, &map, grid.dims, element)?.parts;
        assert_eq!((parts.len(), parts[0].voxels), (1, grid.dims.voxels()));
        Ok(())
    };
    once()?;
    let allocated = device.allocations();
    once()?;
    Ok(device.allocations() - allocated)
}

/// Runs as a child only: by itself it has nothing to do.
#[test]
fn child() {
    if std::env::var_os("SAGITTA_DRIVER").is_some() {
        match job() {
            Ok(fresh) => println!("done twice, {fresh} blocks of memory more"),
            Err(error) => println!("{error}"),
        }
    }
}
