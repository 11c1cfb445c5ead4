//! The log on a disk: restarts, half lines, and every way to change it.

use super::*;
use crate::messages::AlarmCode;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("sagitta-audit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join(FOLDER).join(CURRENT)
    }

    fn fault(&self) -> Option<Fault> {
        verify_folder(&self.0.join(FOLDER), None).unwrap().err()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn add(audit: &Audit) -> Head {
    let action = Action::AcknowledgeAlarm { code: AlarmCode::TooHot };
    audit.record(Actor::Page, action, Ending::Done).unwrap()
}

/// A log of five records over one restart, and its text.
fn five(name: &str) -> (Folder, String) {
    let folder = Folder::new(name);
    let audit = Audit::open(&folder.0).unwrap();
    (0..3).for_each(|_| drop(add(&audit)));
    drop(audit);
    let audit = Audit::open(&folder.0).unwrap();
    add(&audit);
    assert_eq!(add(&audit).number, 5);
    let text = std::fs::read_to_string(folder.log()).unwrap();
    (folder, text)
}

#[test]
fn a_log_goes_on_over_a_restart_and_fits() {
    let (folder, text) = five("whole");
    let verified = verify_folder(&folder.0.join(FOLDER), None).unwrap().unwrap();
    assert_eq!((verified.before.number, verified.last.number), (0, 5));
    assert_eq!(verify_file(&folder.log(), Some(&verified.last)).unwrap(), Ok(verified));
    let second = text.lines().nth(2).unwrap();
    assert!(second.contains(r#""number":2,"at":""#), "{second}");
    let end = r#""actor":"page","action":"acknowledge_alarm","code":"too_hot","ending":"done"}"#;
    assert!(second.ends_with(end), "{second}");
}

#[test]
fn no_bit_of_a_log_can_be_changed() {
    let (folder, text) = five("bits");
    for at in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        std::fs::write(folder.log(), bytes).unwrap();
        assert!(folder.fault().is_some(), "byte {at}");
    }
}

#[test]
fn the_first_record_that_does_not_fit_is_named() {
    let (folder, text) = five("named");
    let lines: Vec<&str> = text.lines().collect();
    let fault = |lines: &[&str]| {
        std::fs::write(
            folder.log(),
            lines.iter().map(|line| format!("{line}\n")).collect::<String>(),
        )
        .unwrap();
        folder.fault()
    };
    assert_eq!(fault(&lines), None);
    let changed = lines[3].replace("too_hot", "disk_full");
    assert_eq!(
        fault(&[&lines[..3], &[changed.as_str()], &lines[4..]].concat()),
        Some(Fault::Changed { number: 3 })
    );
    let left_out = [&lines[..2], &lines[3..]].concat();
    assert_eq!(fault(&left_out), Some(Fault::Missing { number: 2, found: 3 }));
    let mut moved = lines.clone();
    moved.swap(2, 4);
    assert_eq!(fault(&moved), Some(Fault::Missing { number: 2, found: 4 }));
    assert_eq!(fault(&lines[..4]), Some(Fault::Cut { number: 4 }));
    assert_eq!(fault(&lines[1..]), Some(Fault::NotLog));
    // A hand that writes the chain and the head anew: who has seen the old one finds it.
    let told = Head { number: 2, hash: "a".repeat(64) };
    std::fs::write(folder.log(), &text).unwrap();
    assert_eq!(
        verify_file(&folder.log(), Some(&told)).unwrap(),
        Err(Fault::Rewritten { number: 2 })
    );
}

#[test]
fn half_a_line_goes_at_the_next_start_wherever_the_power_was_cut() {
    let (folder, text) = five("torn");
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    for cut in last..text.len() {
        std::fs::write(folder.log(), &text[..cut]).unwrap();
        // The head is written after the record: it names the one before, or was never there.
        let four = chain::walk(&text.as_bytes()[..last]).0;
        std::fs::write(folder.0.join(FOLDER).join(HEAD), four.to_string()).unwrap();
        let audit = Audit::open(&folder.0).unwrap();
        assert_eq!(add(&audit).number, 5, "cut at {cut}");
        assert_eq!(folder.fault(), None, "cut at {cut}");
    }
}

#[test]
fn a_cut_log_goes_on_and_the_gap_stays_to_be_found() {
    let (folder, text) = five("gap");
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(folder.log(), lines[..3].join("\n") + "\n").unwrap();
    let audit = Audit::open(&folder.0).unwrap();
    assert_eq!(add(&audit).number, 6);
    assert_eq!(folder.fault(), Some(Fault::Missing { number: 3, found: 6 }));
}

#[test]
fn full_files_are_closed_and_the_oldest_go_without_a_break() {
    let folder = Folder::new("rotation");
    let audit = Audit::open(&folder.0).unwrap();
    add(&audit);
    for n in 1..=MAX_FILES as u64 + 3 {
        audit.tail().bytes = MAX_FILE_BYTES;
        assert_eq!(add(&audit).number, n + 1);
    }
    let verified = verify_folder(&folder.0.join(FOLDER), None).unwrap().unwrap();
    assert_eq!(verified.last.number, MAX_FILES as u64 + 4);
    assert_eq!(verified.before.number, 4, "sixteen files of a record each are left");
    let closed = chain::closed(&folder.0.join(FOLDER)).unwrap();
    assert_eq!(closed.len(), MAX_FILES - 1);
    std::fs::remove_file(&closed[2]).unwrap();
    assert_eq!(folder.fault(), Some(Fault::Missing { number: 7, found: 8 }));
}
