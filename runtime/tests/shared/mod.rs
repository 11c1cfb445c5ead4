//! The reference data of the tests: the folder named by `SAGITTA_SHARED`, by default `../shared` beside the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of DICOM reference data.
pub(crate) fn dicom() -> PathBuf {
    let root = std::env::var_os("SAGITTA_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let folder = root.join("data/dicom");
    assert!(folder.is_dir(), "set SAGITTA_SHARED to the folder of reference data");
    folder
}

/// An empty folder of this test, removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("sagitta-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Unpacks the series of a reference folder into `scratch`.
pub(crate) fn unpack(folder: &str, scratch: &Path) {
    let archive = dicom().join(folder).join("series.tar.xz");
    run(Command::new("tar").arg("-C").arg(scratch).arg("-xf").arg(archive));
}

/// Runs a program that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}
