//! Blanks: files whose blocks were written before, so that an instance written into one is durable after a single fdatasync.
//!
//! A new file costs the file system a commit for its blocks and one for its name. A blank costs neither when it is used: its
//! blocks, its length and its name are on the disk, and only bytes change. It becomes the instance's own file by a rename, which
//! need not be durable: what a power cut leaves under the old name is found there at the next start, whole or not
//! ([`crate::part10::Sealed`]).
//!
//! Blanks are made while nothing comes, as many as came at once before: every instance is written twice, once as zeros.

use crate::durable::{self, sync_folder};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const FOLDER: &str = "pool";
const EXTENSION: &str = "blank";
/// Of all blanks together: a burst of 500 slices of 512 x 512.
const KEPT_BYTES: u64 = 256 << 20;
/// Larger instances have little to gain: the file system's commits are small beside their own bytes.
const LARGEST_BYTES: u64 = 8 << 20;
/// Shorter ones are no images.
const SMALLEST_BYTES: u64 = 16 << 10;
/// Blanks take no more than this share of what is free: instances come first.
const SHARE_OF_FREE: u64 = 16;
/// Nothing has come for so long: no scanner pauses longer within a series, so a burst is over and the disk has time.
const QUIET: Duration = Duration::from_secs(1);

/// See the module. One for a spool; shared by all associations. Its thread ends with it.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    maker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
    /// An instance came, or the pool is closed.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    blanks: Vec<Blank>,
    /// Length of the blank that was asked for last.
    wanted: u64,
    /// How many of that length were asked for since it was quiet, and at most.
    burst: u64,
    largest_burst: u64,
    asked: Instant,
    /// Of the next blank.
    number: u64,
    closed: bool,
}

/// A file that nobody else has.
#[derive(Debug)]
pub(super) struct Blank {
    path: PathBuf,
    bytes: u64,
}

impl Blank {
    /// Makes `content`, which must be as long as the blank, durable under the name `path`. Blocks on the disk.
    pub(super) fn become_file(self, path: &Path, content: &[&[u8]]) -> io::Result<()> {
        let done = self.fill(content).and_then(|()| fs::rename(&self.path, path));
        if done.is_err() {
            // The first error is the one to report; what is left is judged at the next start.
            let _ = fs::remove_file(&self.path);
        }
        done
    }

    fn fill(&self, content: &[&[u8]]) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.path)?;
        content.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_data()
    }
}

/// The length of the file for an instance of so many bytes: a sixteenth longer at most, so that the images of a series, whose
/// headers differ by some bytes, have the same. `None` for what gets no blank.
pub(super) fn file_bytes(bytes: u64) -> Option<u64> {
    let bytes = bytes.max(SMALLEST_BYTES);
    let step = (bytes.next_power_of_two() / 32).max(1);
    let length = bytes.next_multiple_of(step);
    (length <= LARGEST_BYTES).then_some(length)
}

/// The files that are in the pool: blanks, and what a power cut or a kill left of instances under the names of blanks.
pub(super) fn left(root: &Path) -> io::Result<Vec<PathBuf>> {
    durable::files(&root.join(FOLDER), EXTENSION)
}

impl Pool {
    /// Opens the pool of the spool in `root`. Every file that is [`left()`] there counts as a blank.
    pub(super) fn open(root: &Path) -> io::Result<Pool> {
        let mut blanks = Vec::new();
        for path in left(root)? {
            let bytes = fs::metadata(&path)?.len();
            // One that was being made.
            if file_bytes(bytes) != Some(bytes) {
                fs::remove_file(path)?;
                continue;
            }
            blanks.push(Blank { path, bytes });
        }
        let numbers =
            blanks.iter().filter_map(|blank| blank.path.file_stem()?.to_str()?.parse().ok());
        let number = numbers.max().map_or(0, |last: u64| last + 1);
        let state = State {
            blanks,
            wanted: 0,
            burst: 0,
            largest_burst: 0,
            asked: Instant::now(),
            number,
            closed: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { folder: root.join(FOLDER), state, changed });
        let making = Arc::clone(&shared);
        let maker = std::thread::Builder::new().name("pool".to_owned());
        let maker = Some(maker.spawn(move || making.make_blanks())?);
        Ok(Pool { shared, maker })
    }

    /// A blank of so many bytes ([`file_bytes`]), if there is one. Never waits for one.
    pub(super) fn take(&self, bytes: u64) -> Option<Blank> {
        let mut state = self.shared.lock();
        if state.wanted != bytes || state.asked.elapsed() >= QUIET {
            state.largest_burst = if state.wanted == bytes { state.largest_burst } else { 0 };
            (state.wanted, state.burst) = (bytes, 0);
        }
        state.burst += 1;
        state.largest_burst = state.largest_burst.max(state.burst);
        state.asked = Instant::now();
        self.shared.changed.notify_all();
        let found = state.blanks.iter().position(|blank| blank.bytes == bytes)?;
        Some(state.blanks.swap_remove(found))
    }

    /// Whether a blank can be taken: its file is seen before.
    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        !self.shared.lock().blanks.is_empty()
    }

    /// Makes the renames durable that took blanks away. Blocks on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match sync_folder(&self.shared.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        // A panic of its own was reported by the thread.
        let _ = self.maker.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The work of the pool's thread.
    fn make_blanks(&self) {
        while let Some((path, bytes)) = self.next() {
            match self.make(&path, bytes) {
                Ok(()) => self.lock().blanks.push(Blank { path, bytes }),
                Err(error) => {
                    let _ = fs::remove_file(path);
                    tracing::warn!(%error, "no blank file for the spool; instances are synced as new files");
                    // Not again before the next burst.
                    self.lock().largest_burst = 0;
                }
            }
        }
    }

    /// Waits until it is quiet and a blank is missing; `None` when the pool is closed.
    fn next(&self) -> Option<(PathBuf, u64)> {
        let mut state = self.lock();
        while !state.closed {
            if !state.lacks_one() {
                state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            }
            let rest = QUIET.saturating_sub(state.asked.elapsed());
            if rest.is_zero() {
                state.number += 1;
                return Some((
                    self.folder.join(format!("{}.{EXTENSION}", state.number)),
                    state.wanted,
                ));
            }
            let waited = self.changed.wait_timeout(state, rest);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        None
    }

    fn make(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.make_room(bytes)?;
        fs::create_dir_all(&self.folder)?;
        let disk = rustix::fs::statvfs(&self.folder)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) / SHARE_OF_FREE < KEPT_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = File::create_new(path)?;
        io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
        file.flush()?;
        file.sync_all()?;
        sync_folder(&self.folder)
    }

    /// Removes blanks of other lengths where another blank would be too much.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.lock();
        let wanted = state.wanted;
        let mut total: u64 = state.blanks.iter().map(|blank| blank.bytes).sum();
        while total + bytes > KEPT_BYTES {
            let Some(other) = state.blanks.iter().position(|blank| blank.bytes != wanted) else {
                return Ok(());
            };
            let other = state.blanks.swap_remove(other);
            total -= other.bytes;
            fs::remove_file(other.path)?;
        }
        Ok(())
    }
}

impl State {
    /// Whether there are fewer blanks than came at once before.
    fn lacks_one(&self) -> bool {
        let there = self.blanks.iter().filter(|blank| blank.bytes == self.wanted).count() as u64;
        there < self.largest_burst && (there + 1) * self.wanted <= KEPT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_at_most_a_sixteenth_longer_than_its_instance() {
        for bytes in
            [SMALLEST_BYTES, 16_385, 33_000, 525_000, 1 << 20, (1 << 20) + 1, LARGEST_BYTES]
        {
            let file = file_bytes(bytes).unwrap();
            assert!(file >= bytes && file - bytes <= bytes / 16, "{bytes} {file}");
            assert_eq!(file_bytes(file), Some(file));
        }
        assert_eq!((file_bytes(1), file_bytes(LARGEST_BYTES + 1)), (Some(SMALLEST_BYTES), None));
    }

    #[test]
    fn as_many_blanks_are_made_as_came_at_once_and_stay_over_a_restart() {
        let root = std::env::temp_dir().join(format!("sagitta-pool-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let pool = Pool::open(&root).unwrap();
        let bytes = file_bytes(20_000).unwrap();
        (0..3).for_each(|_| assert!(pool.take(bytes).is_none()));
        let deadline = Instant::now() + Duration::from_secs(30);
        while pool.shared.lock().blanks.len() < 3 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let path = root.join("instance");
        let content = vec![7; bytes as usize];
        pool.take(bytes).unwrap().become_file(&path, &[&content[..9], &content[9..]]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
        drop(pool);
        // Half a blank is none.
        fs::write(root.join(FOLDER).join("99.blank"), [0; 4097]).unwrap();
        let pool = Pool::open(&root).unwrap();
        assert!(
            pool.shared.lock().blanks.len() >= 2 && !root.join(FOLDER).join("99.blank").exists()
        );
        assert!(pool.take(bytes).is_some());
        drop(pool);
        fs::remove_dir_all(root).unwrap();
    }
}
