//! Files that are there after a power cut, whole or not at all. What is in them is others' business.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file under its name only when all of it is on the disk, and makes the name durable. Its folder is made if need be.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, &|_| Ok(()))
}

/// [`write()`], with what `prepare` does to the file before it has its name: its owner, its mode.
pub fn write_with(
    path: &Path,
    bytes: &[u8],
    prepare: &dyn Fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    place_with(path, bytes, prepare)?;
    sync_folder(folder_of(path))
}

/// [`write()`] without the name: after a power cut the file may be missing until [`sync_folder`] has run, once for many
/// files. A file of this name stays whole for its readers until the new one takes its place.
pub fn place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    place_with(path, bytes, &|_| Ok(()))
}

fn place_with(
    path: &Path,
    bytes: &[u8],
    prepare: &dyn Fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    make_folder(folder_of(path))?;
    let partial = path.with_extension("part");
    let mut file = File::create(&partial)?;
    prepare(&file)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)
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
