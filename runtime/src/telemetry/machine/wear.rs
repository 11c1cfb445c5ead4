//! How worn the flash of a machine is, where the kernel has a file that says so: eMMC (JESD84-B51, EXT_CSD bytes 268 and 269).
//!
//! NVMe and SATA drives answer a command of an administrator only, and the service is none: their wear is not known here.

use std::fs;
use std::path::Path;

/// Percent that one step of the estimate stands for; a value is the upper end of its step.
const STEP: f64 = 10.0;
/// The last value: more than the maker promised.
const EXCEEDED: u8 = 0x0b;

/// Used share of the life that its maker promised, percent, of the flash that is worn most.
pub(super) fn percent(root: &Path) -> Option<f64> {
    let disks = fs::read_dir(root.join("sys/block")).ok()?.flatten();
    disks.filter_map(|disk| used(&disk.path().join("device/life_time"))).reduce(f64::max)
}

/// Two estimates, for two types of memory cells. 0: not defined.
fn used(life_time: &Path) -> Option<f64> {
    let text = fs::read_to_string(life_time).ok()?;
    let steps = text.split_whitespace().filter_map(|word| {
        let step = u8::from_str_radix(word.strip_prefix("0x")?, 16).ok()?;
        (1..=EXCEEDED).contains(&step).then_some(step)
    });
    steps.max().map(|step| f64::from(step) * STEP)
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    /// What a machine with these values of `life_time` says.
    fn worn(name: &str, disks: &[&str]) -> Option<f64> {
        let paths: Vec<String> =
            (0..disks.len()).map(|n| format!("sys/block/mmcblk{n}/device/life_time")).collect();
        let mut files: Vec<(&str, &str)> =
            paths.iter().map(String::as_str).zip(disks.iter().copied()).collect();
        // A drive that says nothing of itself.
        files.push(("sys/block/nvme0n1/device/model", "a drive\n"));
        let root = tree(name, &files);
        let worn = percent(&root);
        fs::remove_dir_all(root).unwrap();
        worn
    }

    #[test]
    fn the_flash_that_is_worn_most_is_told() {
        assert_eq!(worn("wear-one", &["0x02 0x01\n"]), Some(20.0));
        assert_eq!(worn("wear-two", &["0x00 0x03\n", "0x09 0x01\n"]), Some(90.0));
        assert_eq!(worn("wear-over", &["0x0b 0x0a\n"]), Some(110.0));
    }

    #[test]
    fn what_no_drive_says_is_not_known() {
        for (n, text) in ["0x00 0x00\n", "", "0x0c 0xff\n", "12 34\n"].into_iter().enumerate() {
            assert_eq!(worn(&format!("wear-none-{n}"), &[text]), None, "{text:?}");
        }
        assert_eq!(worn("wear-absent", &[]), None);
    }
}
