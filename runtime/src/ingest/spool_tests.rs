//! Tests of the spool, on a real folder.

use super::*;
use crate::ingest::header::Declared;

fn header(instance: &str) -> Header {
    Header {
        transfer_syntax: "1.2.840.10008.1.2.1".to_owned(),
        sop_class: "1.2.840.10008.5.1.4.1.1.4".to_owned(),
        sop_instance: instance.to_owned(),
        study: "1.2".to_owned(),
        series: "1.2.3".to_owned(),
        frame_of_reference: String::new(),
        modality: "MR".to_owned(),
        image_type: String::new(),
        instance_number: None,
        number_of_frames: None,
        rows: None,
        columns: None,
        position: None,
        orientation: None,
        spacing: None,
        echo: None,
        temporal_position: None,
        time_points: 0,
        concatenation: None,
        declared: Declared::default(),
    }
}

/// A data set with the four UIDs, explicit little endian.
fn data_set(instance: &str, extra: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let class = "1.2.840.10008.5.1.4.1.1.4";
    for (group, element, value) in
        [(8u16, 0x16u16, class), (8, 0x18, instance), (0x20, 0xD, "1.2"), (0x20, 0xE, "1.2.3")]
    {
        let padded = value.len() + value.len() % 2;
        out.extend_from_slice(&group.to_le_bytes());
        out.extend_from_slice(&element.to_le_bytes());
        out.extend_from_slice(b"UI");
        out.extend_from_slice(&(padded as u16).to_le_bytes());
        out.extend_from_slice(value.as_bytes());
        out.resize(out.len() + value.len() % 2, 0);
    }
    out.extend_from_slice(extra);
    out
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sagitta-spool-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

#[test]
fn instances_survive_a_restart_and_half_written_ones_do_not() {
    let root = folder("restart");
    let (spool, found) = Spool::open(&root, b"key").unwrap();
    assert!(found.is_empty());
    let set = data_set("1.2.3.4", b"");
    let stored = spool.store(&header("1.2.3.4"), &set).unwrap();
    assert_eq!(stored.outcome, Outcome::New);
    assert!(fs::read(&stored.path).unwrap().ends_with(&set), "verbatim");
    let name = stored.path.to_str().unwrap();
    assert!(!name.contains("1.2.3"), "no UID in a path");
    let partial = stored.path.with_extension(PARTIAL);
    fs::write(&partial, b"half").unwrap();
    let (_, found) = Spool::open(&root, b"key").unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].path, &found[0].job), (&stored.path, &stored.job));
    assert_eq!(found[0].header.sop_instance, "1.2.3.4");
    assert!(!partial.exists());
    spool.remove(&stored.job).unwrap();
    spool.remove(&stored.job).unwrap();
    assert!(Spool::open(&root, b"key").unwrap().1.is_empty());
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_resend_is_a_duplicate_and_other_bytes_are_a_conflict() {
    let root = folder("resend");
    let (spool, _) = Spool::open(&root, b"key").unwrap();
    let header = header("1.2.3.4");
    let first = spool.store(&header, &data_set("1.2.3.4", b"")).unwrap();
    let again = spool.store(&header, &data_set("1.2.3.4", b"")).unwrap();
    assert_eq!((again.outcome, &again.path), (Outcome::Duplicate, &first.path));
    let other = data_set("1.2.3.4", b"\x08\x00\x60\x00CS\x02\x00MR");
    let conflict = spool.store(&header, &other).unwrap();
    assert_eq!(conflict.outcome, Outcome::Conflict);
    assert_ne!(conflict.path, first.path);
    assert_eq!(Spool::open(&root, b"key").unwrap().1.len(), 1, "a conflict is not used");
    assert_eq!(fs::read_dir(spool.folder(&first.job)).unwrap().count(), 2, "nothing partial stays");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn an_unusable_folder_is_named() {
    let root = folder("unusable");
    fs::write(&root, b"a file").unwrap();
    let error = Spool::open(&root, b"key").unwrap_err();
    assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
    assert_eq!(error.whose_move(), Move::Site);
    fs::remove_file(root).unwrap();
}

/// Pixel data.
fn pixels(value: u8) -> Vec<u8> {
    [b"\xe0\x7f\x10\x00OW\0\0", &20_000u32.to_le_bytes()[..], &[value; 20_000]].concat()
}

/// Waits until the pool has a blank to give.
fn blank(spool: &Spool) -> PathBuf {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        if let Some(path) = spool.pool.blanks().pop() {
            return path;
        }
        assert!(std::time::Instant::now() < deadline, "no blank was made");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_a_power_cut_leaves_in_the_pool_is_found_when_it_is_whole() {
    let root = folder("cut");
    let (spool, _) = Spool::open(&root, b"key").unwrap();
    let set = data_set("1.2.3.4", &pixels(0));
    let first = spool.store(&header("1.2.3.4"), &set).unwrap();
    let place = blank(&spool);
    // Any content that is no more than padding: the same length of file.
    let set = data_set("1.2.3.5", &pixels(1));
    let second = spool.store(&header("1.2.3.5"), &set).unwrap();
    assert!(!place.exists() && fs::metadata(&second.path).unwrap().len() > set.len() as u64 + 600);
    let bytes = fs::read(&second.path).unwrap();
    assert_eq!(part10::split(&bytes).unwrap().1, set, "verbatim");
    let again = spool.store(&header("1.2.3.5"), &set).unwrap();
    assert_eq!(again.outcome, Outcome::Duplicate);
    drop(spool);
    // The rename was lost, and the folder with it; beside it a file that was being written.
    fs::rename(&second.path, &place).unwrap();
    fs::remove_dir_all(first.path.parent().unwrap()).unwrap();
    let torn = place.with_file_name("77.blank");
    let half = bytes.len() / 2;
    fs::write(&torn, [&bytes[..half], &vec![0; bytes.len() - half][..]].concat()).unwrap();
    let (spool, found) = Spool::open(&root, b"key").unwrap();
    assert_eq!(found.iter().map(|a| &a.path).collect::<Vec<_>>(), [&second.path]);
    assert_eq!(fs::read(&second.path).unwrap(), bytes);
    assert!(!torn.exists() && !place.exists());
    spool.remove(&second.job).unwrap();
    drop(spool);
    assert!(Spool::open(&root, b"key").unwrap().1.is_empty());
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn one_instance_sent_by_many_at_once_lands_once() {
    let root = folder("many");
    let (spool, _) = Spool::open(&root, b"key").unwrap();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let store = || spool.store(&header("1.2.3.4"), &data_set("1.2.3.4", b"")).unwrap().outcome;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(store)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == Outcome::New).count(), 1);
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == Outcome::Duplicate).count(), 7);
    fs::remove_dir_all(root).unwrap();
}
