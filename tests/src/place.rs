//! Where things are: the workspace, the shared reference data, Python, a directory of one's own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// The workspace root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of reference data: `SAGITTA_SHARED`, or `../shared` beside the workspace root.
pub fn shared() -> Result<PathBuf> {
    let path = match std::env::var_os("SAGITTA_SHARED") {
        Some(path) => PathBuf::from(path),
        None => root().join("../shared"),
    };
    ensure!(
        path.join("data").is_dir(),
        "the reference data is not in {}: set SAGITTA_SHARED to the folder that holds `data`",
        path.display()
    );
    Ok(path)
}

/// A Python with the packages of `tests/requirements.txt`: `SAGITTA_PYTHON`, which `tests/run` sets.
pub fn python() -> Result<PathBuf> {
    let path = std::env::var_os("SAGITTA_PYTHON").map(PathBuf::from).context(
        "SAGITTA_PYTHON is not set: name a Python with the packages of tests/requirements.txt, or use tests/run",
    )?;
    ensure!(path.is_file(), "SAGITTA_PYTHON names {}, which is no file", path.display());
    Ok(path)
}

/// The program `sagitta` of the profile this test was built in. Cargo builds it for the tests of crate `sagitta` only.
pub fn sagitta() -> Result<PathBuf> {
    let test = std::env::current_exe().context("find this test's own program")?;
    // target/PROFILE/deps/TEST -> target/PROFILE/sagitta
    let profile = test.ancestors().nth(2).context("a test lies in target/PROFILE/deps")?;
    let program = profile.join("sagitta");
    ensure!(
        program.is_file(),
        "{} is not built: cargo build --release -p sagitta, or use tests/run",
        program.display()
    );
    Ok(program)
}

/// Puts the mock of TensorRT's shim into `folder`, by the name under which Sagitta looks for the one of TensorRT 10.
pub fn mock_shim(folder: &Path) -> Result<()> {
    let built = sagitta()?.with_file_name("libsagitta_tensorrt_mock.so");
    ensure!(
        built.is_file(),
        "{} is not built: cargo build --release -p tensorrt-mock, or use tests/run",
        built.display()
    );
    let name = folder.join("libsagitta_tensorrt10.so");
    std::fs::copy(&built, &name).with_context(|| format!("write {}", name.display()))?;
    Ok(())
}

/// A directory of its own, removed when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Result<TempDir> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sagitta-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A process of the same number may have been killed before it could clean up.
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(TempDir(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Left-overs in the system's temp directory harm nobody, a panic while dropping would.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temp_dir_is_its_own_and_goes() {
        let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        assert_ne!(a.path(), b.path());
        std::fs::write(a.join("file"), "x").unwrap();
        let gone = a.path().to_owned();
        drop(a);
        assert!(!gone.exists() && b.path().exists());
    }
}
