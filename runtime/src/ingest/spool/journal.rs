//! Where an instance is durable before its own file is: recycled files, in which one fdatasync of written blocks is enough.
//!
//! A new file costs the file system a commit for its blocks and one for its name; a record over blocks that were written
//! before costs none. The instance's own file is written beside it and left to the system. When a segment is full, the file
//! system is synced beside the work, and the segment is used again. What a power cut took of the files is written again
//! from the records at the next start.
//!
//! Layout: `ROOT/journal/N.segment`, records one after the other: [`MAGIC`], turn, lengths of name and content, CRC-32 of all
//! that, name, content; numbers little endian. The first record tells the turn of the segment, and what is left of an earlier
//! turn has another. A segment whose files are all durable begins with zeros.

use crate::durable;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const FOLDER: &str = "journal";
const MAGIC: &[u8; 8] = b"SAGJRNL1";
/// Magic, turn (8 bytes), length of the name (4), of the content (8), CRC-32 (4).
const HEADER_BYTES: usize = 32;
/// Of one segment: sixty slices of 512 x 512, so that after an examination or two all blocks in use were written before.
const SEGMENT_BYTES: u64 = 32 << 20;
/// A burst of 256 MiB, 500 slices of 512 x 512, goes on while the first segments are being synced.
const SEGMENTS: usize = 8;
/// Larger instances have little to gain: the file system's commits are small beside their own bytes.
const MAX_RECORD_BYTES: u64 = SEGMENT_BYTES / 4;

/// See the module. One for a spool; shared by all associations.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Of the spool: names are relative to it.
    root: PathBuf,
    state: Mutex<State>,
    /// A segment became free, a file was written, or the journal broke.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    segments: Vec<Segment>,
    /// The one that is written to.
    current: Option<usize>,
    /// Of the segment that was taken into use last.
    turn: u64,
    /// A sync failed: what the disk holds is not known, and the journal takes nothing more.
    broken: bool,
}

#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    /// Where the next record goes; 0: the segment is free.
    end: u64,
    turn: u64,
    /// Up to where it is durable, and whether somebody is making it so.
    synced: u64,
    syncing: bool,
    /// Records whose own files are still being written.
    pending: usize,
    /// Its files are being synced: no record is added.
    settling: bool,
}

/// A durable record. When it is dropped, the instance's own file has been written, or never will be.
#[derive(Debug)]
pub(super) struct Kept {
    shared: Arc<Shared>,
    segment: usize,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shared.lock().segments[self.segment].pending -= 1;
        self.shared.changed.notify_all();
    }
}

impl Journal {
    /// Opens the journal of the spool in `root`, after it has written again what a power cut took from the files. Blocks on
    /// the disk.
    pub(super) fn open(root: &Path) -> io::Result<Journal> {
        let mut state = State::default();
        while state.segments.len() < SEGMENTS {
            let path = segment_path(root, state.segments.len());
            let file = match File::options().read(true).write(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                file => file?,
            };
            state.turn = state.turn.max(replay(&file, root)?);
            state.segments.push(Segment::free(file));
        }
        if !state.segments.is_empty() {
            rustix::fs::syncfs(File::open(root)?)?;
        }
        state.segments.iter().try_for_each(|segment| wipe(&segment.file))?;
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Ok(Journal { shared: Arc::new(Shared { root: root.to_owned(), state, changed }) })
    }

    /// Makes a file of the spool durable: `name` is relative to its root. `None` where the caller has to sync the file itself,
    /// because it is large or the journal cannot take it. Blocks on the disk.
    ///
    /// # Errors
    /// The disk failed: nothing is known of the record.
    pub(super) fn keep(&self, name: &str, content: [&[u8]; 2]) -> io::Result<Option<Kept>> {
        let bytes =
            HEADER_BYTES + name.len() + content.iter().map(|part| part.len()).sum::<usize>();
        if bytes as u64 > MAX_RECORD_BYTES {
            return Ok(None);
        }
        let Some((mut state, k)) = self.place_for(bytes as u64) else { return Ok(None) };
        let segment = &mut state.segments[k];
        // In order and under the lock: a record that is durable has all those before it durable, too.
        if write(segment, name, content).is_err() {
            return Ok(None);
        }
        segment.end += bytes as u64;
        segment.pending += 1;
        let end = segment.end;
        let kept = Kept { shared: self.shared.clone(), segment: k };
        self.shared.sync(state, k, end)?;
        Ok(Some(kept))
    }

    /// A segment with room for so many bytes; `None` where there is none and none can be made.
    fn place_for(&self, bytes: u64) -> Option<(MutexGuard<'_, State>, usize)> {
        let mut state = self.shared.lock();
        while !state.broken {
            if let Some(k) = state.current {
                if state.segments[k].end + bytes <= SEGMENT_BYTES {
                    return Some((state, k));
                }
                self.shared.settle(&mut state, k);
            }
            if let Some(k) = state.segments.iter().position(|segment| segment.end == 0) {
                state.turn += 1;
                (state.segments[k].turn, state.segments[k].synced) = (state.turn, 0);
                state.current = Some(k);
            } else if state.segments.len() < SEGMENTS {
                let file = create(&self.shared.root, state.segments.len()).ok()?;
                state.segments.push(Segment::free(file));
            } else {
                state = self.shared.wait(state);
            }
        }
        None
    }

    /// Makes every file durable that has a record, and forgets the records. Blocks on the disk.
    ///
    /// # Errors
    /// The disk failed: records may come back at the next start.
    pub(super) fn settle(&self) -> io::Result<()> {
        let mut state = self.shared.lock();
        for k in 0..state.segments.len() {
            if state.segments[k].end > 0 && !state.segments[k].settling {
                self.shared.settle(&mut state, k);
            }
        }
        while !state.broken && state.segments.iter().any(|segment| segment.settling) {
            state = self.shared.wait(state);
        }
        match state.broken {
            true => Err(io::Error::other("the journal of the spool could not be written")),
            false => Ok(()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for a change: a segment is free or durable, a file was written, or the journal broke.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns when a segment is durable up to `end`: one sync for all who wrote before it began.
    fn sync<'a>(&'a self, mut state: MutexGuard<'a, State>, k: usize, end: u64) -> io::Result<()> {
        while state.segments[k].synced < end {
            if state.broken {
                return Err(io::Error::other("the journal of the spool could not be written"));
            }
            let segment = &mut state.segments[k];
            if segment.syncing {
                state = self.wait(state);
                continue;
            }
            segment.syncing = true;
            let (file, to) = (segment.file.clone(), segment.end);
            drop(state);
            let synced = file.sync_data();
            if synced.is_err() {
                self.give_up();
            }
            state = self.lock();
            state.segments[k].syncing = false;
            if synced.is_ok() {
                state.segments[k].synced = to;
            }
            self.changed.notify_all();
        }
        Ok(())
    }

    fn give_up(&self) {
        tracing::error!(
            "the journal of the spool cannot be written: every instance is synced by itself from now on; the site's move: the disk"
        );
        self.lock().broken = true;
        self.changed.notify_all();
    }

    /// Begins to make the files of a segment durable, beside the work.
    fn settle(self: &Arc<Shared>, state: &mut State, k: usize) {
        state.segments[k].settling = true;
        if state.current == Some(k) {
            state.current = None;
        }
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("journal".to_owned());
        if thread.spawn(move || shared.finish(k)).is_err() {
            state.broken = true;
        }
    }

    /// Syncs the files of a segment, which is free then.
    fn finish(&self, k: usize) {
        let mut state = self.lock();
        while state.segments[k].pending > 0 {
            state = self.wait(state);
        }
        let file = state.segments[k].file.clone();
        drop(state);
        let synced = File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
        if synced.and_then(|()| wipe(&file)).is_err() {
            return self.give_up();
        }
        let mut state = self.lock();
        (state.segments[k].end, state.segments[k].settling) = (0, false);
        drop(state);
        self.changed.notify_all();
    }
}

impl Segment {
    fn free(file: File) -> Segment {
        let file = Arc::new(file);
        Segment { file, end: 0, turn: 0, synced: 0, syncing: false, pending: 0, settling: false }
    }
}

fn segment_path(root: &Path, k: usize) -> PathBuf {
    root.join(FOLDER).join(format!("{k}.segment"))
}

/// A new segment, whose name and folder are durable.
fn create(root: &Path, k: usize) -> io::Result<File> {
    let path = segment_path(root, k);
    fs::create_dir_all(root.join(FOLDER))?;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    durable::sync_folder(&root.join(FOLDER))?;
    durable::sync_folder(root)?;
    Ok(file)
}

/// Tells that the files of a segment are durable.
fn wipe(file: &File) -> io::Result<()> {
    file.write_all_at(&[0; MAGIC.len()], 0)?;
    file.sync_data()
}

/// Writes a record at the end of a segment.
fn write(segment: &Segment, name: &str, content: [&[u8]; 2]) -> io::Result<()> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut head = Vec::with_capacity(HEADER_BYTES + name.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&segment.turn.to_le_bytes());
    head.extend_from_slice(&(name.len() as u32).to_le_bytes());
    head.extend_from_slice(&(length as u64).to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    [&head, name.as_bytes(), content[0], content[1]].iter().for_each(|part| sum.update(part));
    head.extend_from_slice(&sum.finalize().to_le_bytes());
    head.extend_from_slice(name.as_bytes());
    let mut at = segment.end;
    for part in [&head, content[0], content[1]] {
        segment.file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}

/// One record as it is on the disk.
struct Record<'a> {
    turn: u64,
    name: &'a str,
    content: &'a [u8],
    /// With all that follows it.
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the beginning of `bytes`; `None` where there is no whole one.
    fn read(bytes: &'a [u8]) -> Option<Record<'a>> {
        let (head, body) = bytes.split_at_checked(HEADER_BYTES)?;
        let number = |from: usize| Some(u64::from_le_bytes(head[from..from + 8].try_into().ok()?));
        let short = |from: usize| Some(u32::from_le_bytes(head[from..from + 4].try_into().ok()?));
        if !head.starts_with(MAGIC) {
            return None;
        }
        let (name, body) = body.split_at_checked(short(16)? as usize)?;
        let (content, rest) = body.split_at_checked(usize::try_from(number(20)?).ok()?)?;
        let mut sum = crc32fast::Hasher::new();
        [&head[..28], name, content].iter().for_each(|part| sum.update(part));
        let turn = number(8)?;
        let name = std::str::from_utf8(name).ok()?;
        (sum.finalize() == short(28)?).then_some(Record { turn, name, content, rest })
    }
}

/// Writes every file again that a record of the segment has and the folder has not. Returns the turn of the segment.
fn replay(segment: &File, root: &Path) -> io::Result<u64> {
    let mut bytes = vec![0; usize::try_from(segment.metadata()?.len()).unwrap_or(0)];
    segment.read_exact_at(&mut bytes, 0)?;
    let (mut rest, mut turn, mut again) = (&bytes[..], None, 0);
    while let Some(record) = Record::read(rest).filter(|r| turn.is_none_or(|turn| turn == r.turn)) {
        (rest, turn) = (record.rest, Some(record.turn));
        let path = root.join(record.name);
        let there = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            bytes => bytes? == record.content,
        };
        if !there {
            durable::write(&path, record.content)?;
            again += 1;
        }
    }
    if again > 0 {
        tracing::info!(instances = again, "written again from the journal of the spool");
    }
    Ok(turn.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("sagitta-journal-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("job")).unwrap();
        path
    }

    fn keep(journal: &Journal, name: &str, content: &[u8]) {
        assert!(journal.keep(name, [&content[..1], &content[1..]]).unwrap().is_some());
    }

    #[test]
    fn what_a_power_cut_took_is_written_again() {
        let root = root("cut");
        let journal = Journal::open(&root).unwrap();
        let files = ["job/missing", "other/folder", "job/torn", "job/whole"];
        files.iter().for_each(|name| keep(&journal, name, name.as_bytes()));
        fs::write(root.join("job/torn"), b"job/").unwrap();
        fs::write(root.join("job/whole"), b"job/whole").unwrap();
        drop(journal);
        let again = Journal::open(&root).unwrap();
        for name in files {
            assert_eq!(fs::read(root.join(name)).unwrap(), name.as_bytes());
        }
        // Written again and synced: nothing is left to be written.
        fs::remove_dir_all(root.join("job")).unwrap();
        drop(again);
        Journal::open(&root).unwrap();
        assert!(!root.join("job").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn half_a_record_and_those_of_an_earlier_turn_are_none() {
        let root = root("half");
        let journal = Journal::open(&root).unwrap();
        ["job/1", "job/2", "job/3"].iter().for_each(|name| keep(&journal, name, b"first turn"));
        journal.settle().unwrap();
        keep(&journal, "job/4", b"second turn");
        keep(&journal, "job/5", b"second turn");
        let path = segment_path(&root, 0);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.windows(5).position(|window| window == b"job/5").unwrap();
        bytes[last + 8] ^= 1;
        fs::write(&path, bytes).unwrap();
        drop(journal);
        Journal::open(&root).unwrap();
        let files: Vec<_> = fs::read_dir(root.join("job")).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(fs::read(root.join("job/4")).unwrap(), b"second turn");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn segments_are_used_again_and_no_more_than_needed() {
        let root = root("turns");
        let journal = Journal::open(&root).unwrap();
        let slice = vec![7; MAX_RECORD_BYTES as usize - 1024];
        for n in 0..40 {
            let name = format!("job/{n}");
            let kept = journal.keep(&name, [&[], &slice]).unwrap();
            fs::write(root.join(&name), &slice).unwrap();
            drop(kept);
        }
        let segments = fs::read_dir(root.join(FOLDER)).unwrap().count();
        assert!((2..=SEGMENTS).contains(&segments), "{segments}");
        journal.settle().unwrap();
        assert!(journal.keep("job/large", [&[], &vec![0; 9 << 20]]).unwrap().is_none());
        fs::remove_dir_all(root).unwrap();
    }
}
