//! The temperature of the computer's module, and the fan it asks the supervisor for. The supervisor adds what its own board
//! needs, and keeps its own limits.

use std::path::Path;

/// Where Linux shows its sensors.
pub const ZONES: &str = "/sys/class/thermal";
/// The module throttles near 99 C; a fan at its fastest from 80 C on leaves room.
const COOL_C: f64 = 45.0;
const HOT_C: f64 = 80.0;
/// Duty at and below the cool end: as the supervisor's least.
const LEAST_PERCENT: f64 = 20.0;
/// Readings beyond are no temperatures: a zone that is off reports such.
const PLAUSIBLE_C: std::ops::Range<f64> = -40.0..150.0;

/// Kind and degrees Celsius of every zone below `folder`; the kind is empty where the kernel names none.
pub fn zones(folder: &Path) -> Vec<(String, f64)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let reading = |zone: std::fs::DirEntry| {
        let text = |file| std::fs::read_to_string(zone.path().join(file));
        let millidegrees: f64 = text("temp").ok()?.trim().parse().ok()?;
        let celsius = Some(millidegrees / 1000.0).filter(|c| PLAUSIBLE_C.contains(c))?;
        Some((text("type").unwrap_or_default().trim().to_owned(), celsius))
    };
    entries.filter_map(reading).collect()
}

/// The hottest zone below `folder`, in degrees Celsius; `None` where nothing can be read.
pub fn hottest(folder: &Path) -> Option<f64> {
    zones(folder).into_iter().map(|(_, celsius)| celsius).reduce(f64::max)
}

/// Duty in percent for a module of this temperature; all there is where nobody knows.
pub fn duty(module_c: Option<f64>) -> u8 {
    let Some(module) = module_c else { return 100 };
    let part = ((module - COOL_C) / (HOT_C - COOL_C)).clamp(0.0, 1.0);
    (LEAST_PERCENT + part * (100.0 - LEAST_PERCENT)).ceil() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fan_follows_the_hottest_zone() {
        let folder = std::env::temp_dir().join(format!("sagitta-zones-{}", std::process::id()));
        assert_eq!(hottest(&folder), None);
        // Made up in the form of a Jetson's: a zone that is off reads -256 C, one cannot be read.
        for (zone, text) in
            [("zone0", "48500\n"), ("zone1", "51250\n"), ("zone2", "-256000\n"), ("zone3", "")]
        {
            std::fs::create_dir_all(folder.join(zone)).unwrap();
            std::fs::write(folder.join(zone).join("temp"), text).unwrap();
        }
        assert_eq!(hottest(&folder), Some(51.25));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn duty_rises_and_fails_to_its_top() {
        let duties = [20.0, 45.0, 62.5, 80.0, 105.0].map(|c| duty(Some(c)));
        assert_eq!(duties, [20, 20, 60, 100, 100]);
        assert_eq!(duty(None), 100);
    }
}
