//! Trials, with a cut after every file that is written or removed.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A device's folder, removed when dropped.
struct Device(PathBuf);

impl Device {
    fn new(name: &str) -> Device {
        let folder = std::env::temp_dir().join(format!("sagitta-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("data")).unwrap();
        let device = Device(folder);
        fs::write(device.file(), device.text("mr1")).unwrap();
        fs::set_permissions(device.file(), fs::Permissions::from_mode(0o640)).unwrap();
        device
    }

    fn file(&self) -> PathBuf {
        self.0.join("sagitta.toml")
    }

    fn place(&self) -> Place {
        Place::new(&self.file())
    }

    fn text(&self, name: &str) -> String {
        let data = self.0.join("data");
        format!("data = '{}'\n[mqtt]\nsite = 'north'\ndevice = '{name}'\n", data.display())
    }

    fn in_force(&self) -> String {
        Config::read(&self.file()).unwrap().mqtt.device.as_str().to_owned()
    }

    fn ending(&self) -> Ending {
        self.place().outcome().unwrap().ending
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_trial_that_is_kept_stays_and_can_be_rolled_back() {
    let device = Device::new("kept");
    let place = device.place();
    assert!(matches!(place.previous_text(), Err(TrialError::NoPrevious)));
    assert_eq!(place.take().unwrap(), Taken::Nothing);
    let changes = place.propose(&device.text("mr2"), Proposer::Service).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(device.in_force(), "mr1", "only a start puts it in force");
    assert_eq!(place.take().unwrap(), Taken::OnTrial);
    let another = place.propose(&device.text("mr3"), Proposer::Administrator);
    assert!(matches!(another, Err(TrialError::OnTrial)));
    assert!(place.keep().unwrap() && !place.keep().unwrap());
    assert_eq!((device.in_force().as_str(), device.ending()), ("mr2", Ending::Kept));
    assert_eq!(fs::metadata(device.file()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(place.take().unwrap(), Taken::Nothing);

    place.propose(&place.previous_text().unwrap(), Proposer::Administrator).unwrap();
    assert_eq!(place.take().unwrap(), Taken::OnTrial);
    assert!(place.keep().unwrap());
    assert_eq!(device.in_force(), "mr1");
    assert_eq!(place.outcome().unwrap().number, 2);
}

#[test]
fn a_trial_that_nobody_kept_is_taken_back_by_the_next_start() {
    let device = Device::new("back");
    let place = device.place();
    place.propose(&device.text("mr2"), Proposer::Administrator).unwrap();
    assert_eq!(place.take().unwrap(), Taken::OnTrial);
    assert_eq!(device.in_force(), "mr2");
    assert_eq!(place.take().unwrap(), Taken::Back);
    assert_eq!((device.in_force().as_str(), device.ending()), ("mr1", Ending::TakenBack));
    assert_eq!(place.take().unwrap(), Taken::Nothing, "it is not tried again");
}

#[test]
fn what_cannot_be_used_is_refused_and_nothing_changes() {
    let device = Device::new("refused");
    let place = device.place();
    let refused = |text: &str| place.propose(text, Proposer::Service).unwrap_err().to_string();
    assert!(refused("data = 1").contains("line 1"));
    assert_eq!(refused(&device.text("mr1")), "it would change nothing");
    let moved = device.text("mr2").replace("/data'", "/elsewhere'");
    assert!(refused(&moved).contains("moves the data folder"));
    let secured = format!(
        "{}[dicom]\ntls = true\n[tls]\ncertificate = 'c'\nkey = 'k'\nauthorities = 'a'\n",
        device.text("mr2")
    );
    assert!(refused(&secured).contains("the certificate of [tls]"), "{}", refused(&secured));

    // Whoever can write the data folder may leave there what he likes.
    let candidate = device.0.join("data").join(CANDIDATE);
    fs::write(&candidate, "nonsense").unwrap();
    assert!(matches!(place.take().unwrap(), Taken::Refused(_)));
    symlink(device.0.join("secret"), &candidate).unwrap();
    fs::write(device.0.join("secret"), device.text("mr9")).unwrap();
    assert!(matches!(place.take().unwrap(), Taken::Refused(_)));
    assert_eq!(device.in_force(), "mr1");
    assert!(matches!(device.ending(), Ending::Refused { .. }));
    assert_eq!(place.take().unwrap(), Taken::Nothing, "it is not refused again");
}

/// The states of the disk between two steps of `take`, by what is there: each ends in the old or the new configuration, whole.
#[test]
fn a_power_cut_between_two_steps_ends_in_the_one_before() {
    let device = Device::new("cut");
    let place = device.place();
    let (old, new) = (device.text("mr1"), device.text("mr2"));
    let sha256 = sha256(new.as_bytes());
    let steps: [&dyn Fn(); 3] = [
        &|| place.write(&place.previous(), &old).unwrap(),
        &|| place.write(&place.trial(), &sha256).unwrap(),
        &|| place.write(&device.file(), &new).unwrap(),
    ];
    for cut in 0..=steps.len() {
        fs::write(device.file(), &old).unwrap();
        place.propose(&new, Proposer::Administrator).unwrap();
        steps[..cut].iter().for_each(|step| step());
        let taken = place.take().unwrap();
        let expected = if cut < 2 { Taken::OnTrial } else { Taken::Back };
        assert_eq!(taken, expected, "cut after step {cut}");
        if taken == Taken::OnTrial {
            assert_eq!(place.take().unwrap(), Taken::Back);
        }
        assert_eq!(device.in_force(), "mr1", "cut after step {cut}");
        assert_eq!(place.take().unwrap(), Taken::Nothing, "cut after step {cut}");
    }
}
