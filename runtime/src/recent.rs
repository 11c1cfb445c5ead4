//! The last lines of the service's log, kept in the data folder for the log bundle.
//!
//! The log goes to standard error, which systemd's journal keeps. The service may not read the journal, and an image may keep
//! none over a restart; what led to a fault is wanted after one. So the same lines go to two files that take turns. They are
//! not synced: a line is worth no write of the disk's cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Folder of the files in the data folder.
pub const FOLDER: &str = "log";
const CURRENT: &str = "recent.log";
const BEFORE: &str = "before.log";
/// Where a file ends and the next begins: some four thousand lines, days of an ordinary device.
const MAX_FILE_BYTES: u64 = 512 * 1024;

/// Takes the lines of the log; clones write to the same file.
#[derive(Debug, Clone)]
pub struct Recent(Arc<Mutex<Current>>);

#[derive(Debug)]
struct Current {
    folder: PathBuf,
    file: File,
    bytes: u64,
}

impl Recent {
    /// Goes on behind what `DATA/log` holds.
    pub fn open(data: &Path) -> io::Result<Recent> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let (file, bytes) = append(&folder)?;
        Ok(Recent(Arc::new(Mutex::new(Current { folder, file, bytes }))))
    }
}

/// The lines that are kept, oldest first; none where there are none.
pub fn read(data: &Path) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for name in [BEFORE, CURRENT] {
        match fs::read(data.join(FOLDER).join(name)) {
            Ok(bytes) => lines.extend(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(lines)
}

fn append(folder: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(folder.join(CURRENT))?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

impl Current {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes >= MAX_FILE_BYTES {
            fs::rename(self.folder.join(CURRENT), self.folder.join(BEFORE))?;
            (self.file, self.bytes) = append(&self.folder)?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

impl Write for Recent {
    /// Takes one event whole. A full disk costs the line, never the work that it tells of: it is in the journal anyway.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Recent {
    type Writer = Recent;

    fn make_writer(&'a self) -> Recent {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_take_turns_and_a_new_run_goes_on_behind() {
        let data = std::env::temp_dir().join(format!("sagitta-recent-{}", std::process::id()));
        let line = [b'x'; 1023].iter().chain(b"\n").copied().collect::<Vec<u8>>();
        let lines = 2 * MAX_FILE_BYTES as usize / line.len();
        for _run in 0..2 {
            let mut recent = Recent::open(&data).unwrap();
            for _ in 0..lines {
                recent.write_all(&line).unwrap();
            }
            recent.write_all(b"the last line\n").unwrap();
        }
        let kept = read(&data).unwrap();
        assert!(kept.ends_with(b"the last line\n"));
        let bytes = MAX_FILE_BYTES as usize;
        assert!((bytes..=2 * bytes + line.len()).contains(&kept.len()), "{} bytes", kept.len());
        fs::remove_dir_all(&data).unwrap();
        assert_eq!(read(&data).unwrap(), b"");
    }
}
