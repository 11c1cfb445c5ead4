//! What the computer measures, read from the kernel's files: a Jetson's sensors by their names, and what every Linux has.
//!
//! Everything is found by type or label, because numbers differ from board to board. What is not there is `None`, never 0.

mod boot;
mod wear;

use crate::messages::MachineHealth;
use crate::supervise::cooling;
use std::fs;
use std::path::{Path, PathBuf};

/// The label of the module's supply on the power monitor of a Jetson.
const SUPPLY: &str = "VDD_IN";

/// Reads a machine below `root`: `/`, or a recorded tree. The disk is that of `data`.
pub(super) fn read(root: &Path, data: &Path) -> MachineHealth {
    let zones = cooling::zones(&root.join("sys/class/thermal"));
    let hottest = |kind: &str| {
        let of_kind = zones.iter().filter(|(name, _)| name.to_ascii_lowercase().contains(kind));
        of_kind.map(|&(_, celsius)| celsius).reduce(f64::max).map(tenths)
    };
    let memory = Memory::read(&root.join("proc/meminfo"));
    let pressure = |what: &str| pressure(&root.join("proc/pressure").join(what));
    let gpu = gpu(root);
    let disk = disk(data);
    MachineHealth {
        // A PC has one zone for the whole package.
        cpu_c: hottest("cpu").or_else(|| hottest("x86_pkg")),
        gpu_c: hottest("gpu"),
        soc_c: hottest("soc"),
        hottest_c: hottest(""),
        power_w: power_w(root),
        gpu_load_percent: gpu
            .as_deref()
            .and_then(|gpu| number(&gpu.join("device/load")))
            .map(|l| l / 10.0),
        gpu_mhz: gpu.as_deref().and_then(|gpu| number(&gpu.join("cur_freq"))).map(|hz| hz / 1e6),
        throttled: throttled(root),
        memory_used_percent: memory.as_ref().map(Memory::used_percent),
        memory_free_mib: memory.as_ref().map(|memory| memory.available_kib / 1024),
        cpu_pressure_percent: pressure("cpu"),
        memory_pressure_percent: pressure("memory"),
        io_pressure_percent: pressure("io"),
        disk_used_percent: disk.map(|(percent, _)| percent),
        disk_free_mib: disk.map(|(_, free)| free),
        disk_worn_percent: wear::percent(root),
        clock_synchronised: clock_synchronised(root),
        boot_slot: boot::slot(root),
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn number(path: &Path) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The folders in `folder` whose file `name` holds text that `wanted` accepts.
fn named(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| fs::read_to_string(path.join("name")).is_ok_and(|name| wanted(name.trim())))
        .collect();
    found.sort();
    found
}

/// Voltage times current of the supply, from a power monitor INA3221.
fn power_w(root: &Path) -> Option<f64> {
    let monitors = named(&root.join("sys/class/hwmon"), |name| name == "ina3221");
    let supply = monitors.iter().find_map(|monitor| {
        let labelled = |n: &u8| {
            let label = fs::read_to_string(monitor.join(format!("in{n}_label")));
            label.is_ok_and(|label| label.trim() == SUPPLY)
        };
        (1..=3).find(labelled).map(|n| (monitor, n))
    });
    let (monitor, n) = supply?;
    let millivolts = number(&monitor.join(format!("in{n}_input")))?;
    let milliamperes = number(&monitor.join(format!("curr{n}_input")))?;
    Some(tenths(millivolts * milliamperes / 1e6))
}

/// Over-current events of a Jetson.
fn throttled(root: &Path) -> Option<u64> {
    let counters = named(&root.join("sys/class/hwmon"), |name| name == "soctherm_oc");
    let files =
        counters.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let counts = files.filter(|file| file.file_name().to_string_lossy().ends_with("_event_cnt"));
    counts.filter_map(|file| number(&file.path())).map(|count| count as u64).reduce(|a, b| a + b)
}

/// The folder of the GPU's clock.
fn gpu(root: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(root.join("sys/class/devfreq")).ok()?.flatten();
    let is_gpu =
        |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().contains("gpu"));
    entries.map(|entry| entry.path()).find(is_gpu)
}

/// `/proc/meminfo`, KiB.
struct Memory {
    total_kib: u64,
    available_kib: u64,
}

impl Memory {
    fn read(path: &Path) -> Option<Memory> {
        let text = fs::read_to_string(path).ok()?;
        let of = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Some(Memory { total_kib: of("MemTotal:")?, available_kib: of("MemAvailable:")? })
    }

    fn used_percent(&self) -> f64 {
        let used = self.total_kib.saturating_sub(self.available_kib);
        tenths(100.0 * used as f64 / self.total_kib.max(1) as f64)
    }
}

/// Pressure stall information: the share of the last minute in which some task waited.
fn pressure(path: &Path) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("avg60="))?.parse().ok()
}

/// How full the disk of a folder is for who is not root, in percent, and what is free, in MiB.
fn disk(folder: &Path) -> Option<(f64, u64)> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail as f64 / disk.f_blocks.max(1) as f64;
    Some((tenths(100.0 - 100.0 * free), disk.f_bavail.saturating_mul(disk.f_frsize) >> 20))
}

/// Whether systemd-timesyncd has set the clock; `None` where something else keeps it.
pub(crate) fn clock_synchronised(root: &Path) -> Option<bool> {
    let folder = root.join("run/systemd/timesync");
    folder.is_dir().then(|| folder.join("synchronized").exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::BootSlot;

    /// Writes a tree made up in the form of a machine's; no board was at hand to record one.
    pub(super) fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root =
            std::env::temp_dir().join(format!("sagitta-machine-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const JETSON: [(&str, &str); 26] = [
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "51250\n"),
        ("sys/class/thermal/thermal_zone1/type", "gpu-thermal\n"),
        ("sys/class/thermal/thermal_zone1/temp", "48500\n"),
        ("sys/class/thermal/thermal_zone2/type", "cv0-thermal\n"),
        ("sys/class/thermal/thermal_zone2/temp", "-256000\n"),
        ("sys/class/thermal/thermal_zone3/type", "soc2-thermal\n"),
        ("sys/class/thermal/thermal_zone3/temp", "49000\n"),
        ("sys/class/thermal/thermal_zone4/type", "tj-thermal\n"),
        ("sys/class/thermal/thermal_zone4/temp", "52000\n"),
        ("sys/class/hwmon/hwmon1/name", "ina3221\n"),
        ("sys/class/hwmon/hwmon1/in1_label", "VDD_IN\n"),
        ("sys/class/hwmon/hwmon1/in1_input", "19000\n"),
        ("sys/class/hwmon/hwmon1/curr1_input", "920\n"),
        ("sys/class/hwmon/hwmon3/name", "soctherm_oc\n"),
        ("sys/class/hwmon/hwmon3/oc1_event_cnt", "0\n"),
        ("sys/class/hwmon/hwmon3/oc3_event_cnt", "2\n"),
        ("sys/class/devfreq/17000000.gpu/cur_freq", "918000000\n"),
        ("sys/class/devfreq/17000000.gpu/device/load", "735\n"),
        ("proc/meminfo", "MemTotal: 8000000 kB\nMemFree: 100 kB\nMemAvailable: 2000000 kB\n"),
        ("proc/pressure/cpu", "some avg10=9.00 avg60=1.25 avg300=0.50 total=1\n"),
        ("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0\n"),
        ("proc/pressure/io", "some avg10=3.00 avg60=2.50 avg300=0.10 total=9\n"),
        ("run/systemd/timesync/synchronized", ""),
        ("sys/block/mmcblk0/device/life_time", "0x01 0x02\n"),
        (
            "sys/firmware/efi/efivars/BootChainFwCurrent-781e084c-a330-417c-b678-38e696380cb9",
            "\x06\0\0\0\x01\0\0\0",
        ),
    ];

    #[test]
    fn a_jetson_is_read_by_the_names_of_its_sensors() {
        let root = tree("jetson", &JETSON);
        let read = read(&root, &root);
        let temperatures = [read.cpu_c, read.gpu_c, read.soc_c, read.hottest_c];
        assert_eq!(temperatures, [Some(51.3), Some(48.5), Some(49.0), Some(52.0)]);
        assert_eq!((read.power_w, read.throttled), (Some(17.5), Some(2)));
        assert_eq!((read.gpu_load_percent, read.gpu_mhz), (Some(73.5), Some(918.0)));
        assert_eq!((read.memory_used_percent, read.memory_free_mib), (Some(75.0), Some(1953)));
        let pressure =
            [read.cpu_pressure_percent, read.memory_pressure_percent, read.io_pressure_percent];
        assert_eq!(pressure, [Some(1.25), Some(0.0), Some(2.5)]);
        assert_eq!(read.clock_synchronised, Some(true));
        assert_eq!((read.disk_worn_percent, read.boot_slot), (Some(20.0), Some(BootSlot::B)));
        assert!(read.disk_free_mib.is_some_and(|mib| mib > 0));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        let root = tree(
            "pc",
            &[
                ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
                ("sys/class/thermal/thermal_zone0/temp", "61000\n"),
            ],
        );
        let here = read(&root, &root);
        assert_eq!((here.cpu_c, here.hottest_c), (Some(61.0), Some(61.0)));
        let disk = (here.disk_used_percent, here.disk_free_mib);
        let known = MachineHealth {
            cpu_c: here.cpu_c,
            hottest_c: here.hottest_c,
            disk_used_percent: disk.0,
            disk_free_mib: disk.1,
            ..MachineHealth::default()
        };
        assert_eq!(here, known, "all others are null");
        assert_eq!(read(&root, &root.join("nowhere")).disk_used_percent, None);
        fs::remove_dir_all(root).unwrap();
    }
}
