//! What the emulation and the sanitizers must find: faults planted in `emulation/planted`, and none in `cu`.

use std::process::{Command, Output};

use emulation::{Emulator, sanitizer};
use kernels::cuda::{Array, Call, Device, DeviceError, Launcher, Shape};

const BLOCK: Shape = Shape { blocks: [1, 1, 1], threads: 64, shared_bytes: 0 };

/// What a kernel makes of 0, 1, 2, ... in `order`.
fn shifted(kernel: &'static str, order: u32) -> Vec<i32> {
    let on = Emulator::planted(order);
    let from = Array::of(&on, &(0..64).collect::<Vec<i32>>()).unwrap();
    let mut to = Array::<i32>::new(&on, 64).unwrap();
    Call::of(kernel).read(&from).write(&mut to).launch(&on, BLOCK).unwrap();
    to.download(&on).unwrap()
}

#[test]
fn a_missing_barrier_shows_in_another_order() {
    let right: Vec<i32> = (1..64).chain([0]).collect();
    let orders = [0, 1, 5];
    assert!(orders.iter().any(|&order| shifted("shift_without_barrier", order) != right));
    assert!(orders.iter().all(|&order| shifted("shift", order) == right));
}

#[test]
fn a_sum_in_two_steps_shows_when_threads_change_places() {
    let total = |order| {
        let on = Emulator::planted(order);
        let mut to = Array::<i32>::filled(&on, 2, 0).unwrap();
        Call::of("add_in_two_steps").write(&mut to).launch(&on, BLOCK).unwrap();
        to.download(&on).unwrap()
    };
    assert_eq!(total(0), [64, 64]);
    assert!(total(7)[0] < 64, "the race went unnoticed");
    assert_eq!(total(7)[1], 64, "the atomic beside it");
}

#[test]
fn a_barrier_that_some_do_not_reach_is_refused() {
    let on = Emulator::planted(0);
    let mut to = Array::<i32>::new(&on, 64).unwrap();
    let error = Call::of("barrier_for_some").write(&mut to).launch(&on, BLOCK).unwrap_err();
    assert!(error.to_string().contains("__syncthreads is not reached"), "{error}");
}

#[test]
fn another_list_of_arguments_is_refused() {
    let on = Emulator::planted(0);
    let mut to = Array::<i32>::new(&on, 64).unwrap();
    for call in [Call::of("overflow").write(&mut to), Call::of("overflow").number(1).number(1)] {
        let error = call.launch(&on, BLOCK).unwrap_err();
        assert!(matches!(error, DeviceError::Refused { .. }), "{error}");
    }
    let error = Call::of("unheard_of").launch(&on, BLOCK).unwrap_err();
    assert!(error.to_string().contains("no source has it"), "{error}");
    let error = Call::of("overflow").write(&mut to).count(1 << 31).launch(&on, BLOCK).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    let error = Call::of("overflow").write(&mut to).count(1).over(&on, 1 << 31).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
}

#[test]
fn writing_behind_an_array_is_noticed_without_sanitizers_too() {
    let on = Emulator::planted(0);
    let mut to = Array::<i32>::new(&on, 64).unwrap();
    let error = Call::of("write_behind").write(&mut to).count(64).over(&on, 64).unwrap_err();
    assert!(error.to_string().contains("behind an array"), "{error}");
}

/// This test binary again, in a process of its own under the sanitizers.
fn under_sanitizers(arguments: &[&str], planted: &str) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(arguments).args(["--test-threads", "1"]);
    child.env_remove("SAGITTA_GPU").env_remove("LD_LIBRARY_PATH");
    child.env("SAGITTA_EMULATION", "sanitized").env("SAGITTA_PLANTED", planted);
    // What the test's harness keeps to the end is no leak of a kernel.
    child.env("LD_PRELOAD", sanitizer()).env("ASAN_OPTIONS", "detect_leaks=0");
    child.output().unwrap()
}

#[test]
fn the_cases_pass_the_sanitizers() {
    let output = under_sanitizers(&["--skip", "faults::", "--skip", "driver::"], "");
    let text = String::from_utf8_lossy(&output.stdout);
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{report}");
    assert!(!text.contains(" 0 passed"), "no case ran:\n{text}");
}

/// One planted fault; the child runs this test by the name in `SAGITTA_PLANTED`.
fn plant(kernel: &'static str) {
    let on = Emulator::planted(0);
    let from = Array::<i32>::filled(&on, 64, 0).unwrap();
    let mut to = Array::<i32>::filled(&on, 64, 0).unwrap();
    let call = Call::of(kernel);
    let in_a_warp = Shape { threads: 32, shared_bytes: 128, ..BLOCK };
    let ended = match kernel {
        "read_behind" => call.read(&from).write(&mut to).count(64).over(&on, 64),
        "write_behind" => call.write(&mut to).count(64).over(&on, 64),
        "overflow" => call.write(&mut to).count(64).over(&on, 1),
        _ => call.write(&mut to).launch(&on, in_a_warp),
    };
    ended.unwrap();
}

/// Runs as a child only: by itself it has nothing to do.
#[test]
fn planted() {
    let Some(name) = std::env::var_os("SAGITTA_PLANTED") else { return };
    let kernel = PLANTED.iter().map(|(kernel, ..)| *kernel).find(|kernel| name == **kernel);
    kernel.into_iter().for_each(plant);
}

/// Faults, what the report calls them, and where it finds them.
const PLANTED: [(&str, &str, &str); 5] = [
    ("read_behind", "heap-buffer-overflow", "in read_behind"),
    ("write_behind", "heap-buffer-overflow", "in write_behind"),
    ("write_behind_shared", "heap-buffer-overflow", "in write_behind_shared"),
    ("write_behind_declared", "out of bounds", "bounds.cu:"),
    ("overflow", "signed integer overflow", "bounds.cu:"),
];

#[test]
fn planted_faults_are_found_and_placed() {
    for (kernel, words, place) in PLANTED {
        let output = under_sanitizers(&["--exact", "faults::planted", "--nocapture"], kernel);
        let report = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{kernel} went unnoticed");
        assert!(report.contains(words) && report.contains(place), "{kernel}:\n{report}");
    }
}

#[test]
fn a_machine_without_a_device_is_told_why() {
    match Device::open() {
        Ok(device) => assert!(!device.name().is_empty()),
        Err(error) => {
            let state = matches!(
                error,
                DeviceError::NoDriver
                    | DeviceError::NoDevice(_)
                    | DeviceError::OldDriver { .. }
                    | DeviceError::OldDevice { .. }
            );
            assert!(state, "{error}");
        }
    }
}

#[test]
fn a_second_job_of_the_same_size_allocates_nothing() {
    let on = Emulator::pooled();
    let job = || {
        let from = Array::of(&on, &[1i32; 1000]).unwrap();
        let mut to = Array::<i32>::filled(&on, 990, 0).unwrap();
        on.allocate(70_000).map(drop).unwrap();
        assert_eq!(from.len(), 1000);
        drop(std::mem::replace(&mut to, Array::new(&on, 10).unwrap()));
    };
    job();
    let made = on.allocations();
    job();
    assert_eq!(on.allocations(), made);
}
