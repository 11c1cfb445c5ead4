//! A folder (or one file) of DICOM files: finds its MR series, for work without a service.

use crate::ingest::classes::{self, Use};
use crate::ingest::header;
use crate::ingest::instance::MAX_DATA_SET_BYTES;
use crate::ingest::prescan::Limits;
use crate::part10;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Most files looked at: a study with raw fMRI has some 50 000.
const MAX_FILES: usize = 100_000;
/// Deepest folder looked into: patient / study / series / parts, and some.
const MAX_FOLDER_DEPTH: usize = 8;

/// Why a folder gives no series. The site's move.
#[derive(Debug, Error)]
pub enum FolderError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds more than {MAX_FILES} files")]
    TooMany { path: PathBuf },
    #[error("{path} holds no MR image in DICOM format; {}", others(*.ignored, .first))]
    Nothing {
        path: PathBuf,
        ignored: usize,
        /// Why the first of the ignored files is none; empty without one.
        first: String,
    },
}

fn others(count: usize, first: &str) -> String {
    match count {
        0 => "it holds no file".to_owned(),
        1 => format!("its file: {first}"),
        _ => format!("the first of its {count} files: {first}"),
    }
}

/// The files of one series.
#[derive(Debug)]
pub struct Folder {
    /// Contents of the files of the series, in the order of `paths`.
    pub files: Vec<Vec<u8>>,
    pub paths: Vec<PathBuf>,
    /// Files that are no MR image, and why.
    pub ignored: Vec<(PathBuf, String)>,
    /// MR series in the folder besides this one.
    pub other_series: usize,
}

/// Reads the files of the largest MR series (by number of images) under `path`, which may be one file.
pub fn read_folder(path: &Path) -> Result<Folder, FolderError> {
    let mut ignored = Vec::new();
    let mut series: BTreeMap<String, (u64, Vec<PathBuf>)> = BTreeMap::new();
    for file in list(path)? {
        match inspect(&file) {
            Ok((uid, images)) => {
                let entry = series.entry(uid).or_default();
                entry.0 += images;
                entry.1.push(file);
            }
            Err(reason) => ignored.push((file, reason)),
        }
    }
    let others = series.len().saturating_sub(1);
    let largest = series.into_values().max_by_key(|(images, _)| *images);
    let Some((_, paths)) = largest else {
        let first = ignored.first().map_or_else(String::new, |(_, reason)| reason.clone());
        return Err(FolderError::Nothing { path: path.to_owned(), ignored: ignored.len(), first });
    };
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| FolderError::Read { path: path.clone(), source })
    };
    let files = paths.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Folder { files, paths, ignored, other_series: others })
}

/// All files under a path, sorted.
fn list(path: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FolderError::Read { path, source }
    };
    if fs::metadata(path).map_err(failed(path))?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let kind = entry.file_type().map_err(failed(&folder))?;
            if kind.is_dir() && depth < MAX_FOLDER_DEPTH {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() {
                files.push(entry.path());
            }
            if files.len() > MAX_FILES {
                return Err(FolderError::TooMany { path: path.to_owned() });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Series UID and number of images of a file, or why it is not one of ours.
fn inspect(path: &Path) -> Result<(String, u64), String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_DATA_SET_BYTES as u64 {
        return Err("too large".to_owned());
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let (transfer_syntax, data_set) = part10::split(&bytes).map_err(|e| e.to_string())?;
    let header =
        header::read(data_set, &transfer_syntax, Limits::IMAGE).map_err(|e| e.to_string())?;
    if classes::usage(&header.sop_class) != Some(Use::Image) {
        return Err("not an MR image".to_owned());
    }
    Ok((header.series, u64::from(header.number_of_frames.unwrap_or(1))))
}
