//! Files that are there after a power cut, whole or not at all. What is in them is others' business.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that sync a [`Batch`]: the file system's journal is written once for all who wait for it at the same time, so that
/// eight that wait together take a tenth of the time of one after the other. More gained nothing.
const SYNCERS: usize = 8;

/// Writes a file under its name only when all of it is on the disk, and makes the name durable. Its folder is made if need be.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_folder(folder_of(path))?;
    write_partial(path, bytes)?;
    sync_partial(path)?;
    fs::rename(partial(path), path)?;
    sync_folder(folder_of(path))
}

/// Files that become durable together. Until [`Batch::commit`] none has its name, so that a file that is there stays whole
/// for its readers; a kill leaves partial files, which the next batch of these names writes again.
#[derive(Debug, Default)]
pub struct Batch {
    files: Vec<PathBuf>,
}

impl Batch {
    /// Writes a file beside its place. Its folder is made if need be.
    pub fn write(&mut self, path: PathBuf, bytes: &[u8]) -> io::Result<()> {
        make_folder(folder_of(&path))?;
        write_partial(&path, bytes)?;
        self.files.push(path);
        Ok(())
    }

    pub fn append(&mut self, mut other: Batch) {
        self.files.append(&mut other.files);
    }

    /// Gives every file its name once all of them are on the disk, and makes the names durable. An error names its file; before
    /// the first name is given, no file has one.
    pub fn commit(self) -> Result<(), (PathBuf, io::Error)> {
        let of = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        self.sync()?;
        for path in &self.files {
            fs::rename(partial(path), path).map_err(of(path))?;
        }
        let folders: BTreeSet<&Path> = self.files.iter().map(|path| folder_of(path)).collect();
        folders.into_iter().try_for_each(|folder| sync_folder(folder).map_err(of(folder)))
    }

    fn sync(&self) -> Result<(), (PathBuf, io::Error)> {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(path) = self.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                sync_partial(path).map_err(|error| (path.clone(), error))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads = SYNCERS.min(self.files.len());
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut ended = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.try_for_each(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

/// Where a file is written before it has its name.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn write_partial(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::create(partial(path))?.write_all(bytes)
}

/// Opened anew, so that a result of a thousand files needs no thousand descriptors: the system tells of an error of an earlier
/// writer here if it has told nobody (fsync(2)).
fn sync_partial(path: &Path) -> io::Result<()> {
    File::open(partial(path))?.sync_all()
}

/// Makes the names in a folder durable (fsync(2): syncing a file does not sync its entry).
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The files of a folder whose names end in `extension`: whole ones, as [`write()`] leaves them. None where it is not there.
pub fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == extension)).collect())
}

/// Makes a folder and the missing ones above it, each with its name durable.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    make_folder(above)?;
    match fs::create_dir(path) {
        // Another thread was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(above),
    }
}

/// The folder a path lies in; of a bare name the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sagitta-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    /// A kill before the commit is a batch that is dropped.
    #[test]
    fn a_file_of_a_batch_has_no_name_and_replaces_none_before_all_are_there() {
        let folder = folder("batch");
        let (old, new) = (folder.join("a/seg.dcm"), folder.join("b/seg.json"));
        write(&old, b"old").unwrap();
        let filled = || {
            let mut batch = Batch::default();
            batch.write(old.clone(), b"changed").unwrap();
            batch.write(new.clone(), b"new").unwrap();
            batch
        };
        drop(filled());
        assert_eq!((fs::read(&old).unwrap().as_slice(), new.exists()), (&b"old"[..], false));
        // A disk that fails for one of them.
        let torn = filled();
        fs::remove_file(partial(&new)).unwrap();
        assert_eq!(torn.commit().unwrap_err().0, new);
        assert_eq!((fs::read(&old).unwrap().as_slice(), new.exists()), (&b"old"[..], false));
        let mut batch = filled();
        let mut more = Batch::default();
        (0..50).for_each(|n| more.write(folder.join(format!("c/{n}")), &[n]).unwrap());
        batch.append(more);
        batch.commit().unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"changed");
        assert_eq!(fs::read(&new).unwrap(), b"new");
        assert!((0..50).all(|n| fs::read(folder.join(format!("c/{n}"))).unwrap() == [n]));
        let left = |name| fs::read_dir(folder.join(name)).unwrap().count();
        assert_eq!([left("a"), left("b"), left("c")], [1, 1, 50], "no partial file stays");
        fs::remove_dir_all(folder).unwrap();
    }
}
