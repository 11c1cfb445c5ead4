//! Which of two slots a machine has started from: what NVIDIA's UEFI says of its boot chain, else Mender's two root partitions.

use crate::messages::BootSlot;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The chain that runs: a variable of NVIDIA's UEFI, attributes (4 bytes) and a number (efivarfs: little-endian).
const CHAIN: &str =
    "sys/firmware/efi/efivars/BootChainFwCurrent-781e084c-a330-417c-b678-38e696380cb9";
/// Mender's configuration, of the image and of the device; the second overrules.
const MENDER: [&str; 2] = ["etc/mender/mender.conf", "var/lib/mender/mender.conf"];

/// The slot of a machine below `root`; `None` where it has no two, or nobody may read which.
pub(super) fn slot(root: &Path) -> Option<BootSlot> {
    chain(&root.join(CHAIN)).or_else(|| partition(root))
}

fn chain(variable: &Path) -> Option<BootSlot> {
    match fs::read(variable).ok()?.get(4..)? {
        [0, 0, 0, 0] => Some(BootSlot::A),
        [1, 0, 0, 0] => Some(BootSlot::B),
        _ => None,
    }
}

/// Whether the kernel was given Mender's first or second partition as its root.
fn partition(root: &Path) -> Option<BootSlot> {
    let line = fs::read_to_string(root.join("proc/cmdline")).ok()?;
    let device = line.split_whitespace().find_map(|word| word.strip_prefix("root="))?;
    let files: Vec<Value> = MENDER
        .iter()
        .filter_map(|path| serde_json::from_slice(&fs::read(root.join(path)).ok()?).ok())
        .collect();
    let is = |key: &str| {
        let named = files.iter().rev().find_map(|file| file.get(key)?.as_str());
        named == Some(device)
    };
    match (is("RootfsPartA"), is("RootfsPartB")) {
        (true, false) => Some(BootSlot::A),
        (false, true) => Some(BootSlot::B),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    const PARTS: &str = r#"{"RootfsPartA": "/dev/mmcblk0p2", "RootfsPartB": "/dev/mmcblk0p3"}"#;

    fn read(name: &str, files: &[(&str, &str)]) -> Option<BootSlot> {
        let root = tree(name, files);
        let slot = slot(&root);
        fs::remove_dir_all(root).unwrap();
        slot
    }

    #[test]
    fn the_boot_chain_of_a_jetson_is_read_from_its_variable() {
        for (name, bytes, slot) in [
            ("chain-a", "\x06\0\0\0\0\0\0\0", Some(BootSlot::A)),
            ("chain-b", "\x06\0\0\0\x01\0\0\0", Some(BootSlot::B)),
            ("chain-c", "\x06\0\0\0\x02\0\0\0", None),
            ("chain-cut", "\x06\0", None),
        ] {
            assert_eq!(read(name, &[(CHAIN, bytes)]), slot, "{name}");
        }
    }

    #[test]
    fn menders_partitions_tell_it_elsewhere() {
        let root = |device: &str| format!("console=ttyS0 root={device} ro\n");
        let of = |name: &str, device: &str| {
            read(name, &[("proc/cmdline", &root(device)), (MENDER[0], PARTS)])
        };
        assert_eq!(of("mender-a", "/dev/mmcblk0p2"), Some(BootSlot::A));
        assert_eq!(of("mender-b", "/dev/mmcblk0p3"), Some(BootSlot::B));
        assert_eq!(of("mender-other", "/dev/sda1"), None);
        let own = PARTS.replace("mmcblk0", "nvme0n1");
        let files =
            [("proc/cmdline", &*root("/dev/nvme0n1p3")), (MENDER[0], PARTS), (MENDER[1], &own)];
        assert_eq!(
            read("mender-own", &files),
            Some(BootSlot::B),
            "the device's own file overrules"
        );
        assert_eq!(read("mender-none", &[("proc/cmdline", &root("/dev/sda1"))]), None);
    }
}
