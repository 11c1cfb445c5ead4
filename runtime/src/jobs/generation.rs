//! The generations of a series: late instances make a new result, and a repetition makes the same one again. The same instances make
//! a second one, once, when they are numbered again ([`super::levels`]).
//!
//! Layout: `RESULTS/JOB/GENERATION/made.json` says how many instances a generation is made of and which date its objects
//! carry. A spool only grows, so the number of instances tells which of them they are. The file is written before the
//! first run, so that a run after a crash, or of the spool found at start, is the same generation with the same bytes.

use crate::identity::JobId;
use crate::messages::Timestamp;
use crate::objects::Made;
use crate::{durable, report};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "made.json";

/// One generation of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Counts from 1.
    pub number: u32,
    /// The date of its objects: that of its first run.
    pub made: Made,
    pub folder: PathBuf,
    /// Its report is there: all files are made, and delivered.
    pub finished: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    #[serde(flatten)]
    made: Made,
    instances: usize,
    /// Another generation of the same instances was there: they are numbered again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

/// What the folder of a generation says.
enum Found {
    Made(File),
    /// Killed before it was begun: there is the folder, and nothing was made under its number.
    Blank,
    /// A file that cannot be understood names no instances: its number is taken, nothing else.
    Taken,
}

/// The generation of `job` that is made of so many instances, the last one where there are two; a new one if there is none. Blocks
/// on the disk.
pub fn of(results: &Path, job: &JobId, instances: usize) -> io::Result<Generation> {
    let root = results.join(job.as_str());
    let found = look_all(&root)?;
    let last = made_of(&found, instances).max_by_key(|(number, _)| *number);
    let Some((number, File { made, .. })) = last else {
        return begin(&root, &found, instances, false);
    };
    let folder = root.join(number.to_string());
    let finished = folder.join(report::FILE_NAME).exists();
    Ok(Generation { number, made: made.clone(), folder, finished })
}

/// A second generation of the same instances, which are numbered again; `None` where there is one, or no first. Blocks on the
/// disk.
pub fn again(results: &Path, job: &JobId, instances: usize) -> io::Result<Option<Generation>> {
    let root = results.join(job.as_str());
    let found = look_all(&root)?;
    let first = made_of(&found, instances).count() > 0;
    let second = made_of(&found, instances).any(|(_, file)| file.again);
    match first && !second {
        true => begin(&root, &found, instances, true).map(Some),
        false => Ok(None),
    }
}

fn made_of(found: &[(u32, Found)], instances: usize) -> impl Iterator<Item = (u32, &File)> {
    found.iter().filter_map(move |(number, found)| match found {
        Found::Made(file) if file.instances == instances => Some((*number, file)),
        _ => None,
    })
}

fn begin(
    root: &Path,
    found: &[(u32, Found)],
    instances: usize,
    again: bool,
) -> io::Result<Generation> {
    let highest = |blank: bool| {
        let of = found.iter().filter(|(_, found)| matches!(found, Found::Blank) == blank);
        of.map(|&(number, _)| number).max()
    };
    // A number below one that was given out stays unused: generations count up.
    let last = highest(false).unwrap_or(0);
    let number = highest(true).filter(|&number| number > last).unwrap_or(last + 1);
    let (made, folder) = (now(), root.join(number.to_string()));
    let file = File { made: made.clone(), instances, again };
    let bytes = serde_json::to_vec(&file).expect("two strings, a number and a word");
    durable::write(&folder.join(FILE_NAME), &bytes)?;
    Ok(Generation { number, made, folder, finished: false })
}

/// The folder of the last generation that has its report; none where there is no result.
pub fn last_finished(results: &Path, job: &JobId) -> io::Result<Option<PathBuf>> {
    let root = results.join(job.as_str());
    let mut numbers = numbers(&root)?;
    numbers.sort_unstable();
    let mut folders = numbers.iter().rev().map(|number| root.join(number.to_string()));
    Ok(folders.find(|folder| folder.join(report::FILE_NAME).exists()))
}

/// Takes back that a generation is finished: until its report is written anew, every start makes it again.
pub fn reopen(generation: Generation) -> io::Result<Generation> {
    if generation.finished {
        std::fs::remove_file(generation.folder.join(report::FILE_NAME))?;
        durable::sync_folder(&generation.folder)?;
    }
    Ok(Generation { finished: false, ..generation })
}

/// All generations that have a folder.
fn look_all(root: &Path) -> io::Result<Vec<(u32, Found)>> {
    let look = |number: u32| Ok((number, look(&root.join(number.to_string()))?));
    numbers(root)?.into_iter().map(look).collect()
}

/// An error of the disk is none of the three: to take it for one would make the same instances a new generation.
fn look(folder: &Path) -> io::Result<Found> {
    match std::fs::read(folder.join(FILE_NAME)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_or(Found::Taken, Found::Made)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Blank),
        Err(error) => Err(error),
    }
}

/// The generations that have a folder.
fn numbers(root: &Path) -> io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

fn now() -> Made {
    let digits: String =
        Timestamp::now().to_string().chars().filter(char::is_ascii_digit).collect();
    Made { date: digits[..8].to_owned(), time: digits[8..14].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_instances_are_the_same_generation_and_more_are_the_next() {
        let results =
            std::env::temp_dir().join(format!("sagitta-generation-{}", std::process::id()));
        let job = JobId::new(b"key", "1.2.3");
        let first = of(&results, &job, 15).unwrap();
        assert_eq!((first.number, first.finished), (1, false));
        assert_eq!(of(&results, &job, 15).unwrap(), first);
        std::fs::write(first.folder.join(report::FILE_NAME), "{}").unwrap();
        let late = of(&results, &job, 17).unwrap();
        assert_eq!((late.number, late.finished), (2, false));
        let again = of(&results, &job, 15).unwrap();
        assert_eq!((again.number, again.made, again.finished), (1, first.made, true));
        // A file cut short by a bad disk: its number is not given out again.
        std::fs::write(late.folder.join(FILE_NAME), "{\"da").unwrap();
        assert_eq!(of(&results, &job, 17).unwrap().number, 3);
        std::fs::remove_dir_all(results).unwrap();
    }

    #[test]
    fn the_same_instances_are_numbered_again_once() {
        let results = std::env::temp_dir().join(format!("sagitta-again-{}", std::process::id()));
        let job = JobId::new(b"key", "1.2.3");
        assert_eq!(again(&results, &job, 15).unwrap(), None, "nothing was made of them");
        let first = of(&results, &job, 15).unwrap();
        let second = again(&results, &job, 15).unwrap().unwrap();
        assert_eq!((first.number, second.number, second.finished), (1, 2, false));
        // A kill before it is through: the next start goes on with it.
        assert_eq!(of(&results, &job, 15).unwrap(), second);
        assert_eq!(again(&results, &job, 15).unwrap(), None);
        assert_eq!(of(&results, &job, 17).unwrap().number, 3, "late images");
        assert_eq!(again(&results, &job, 17).unwrap().unwrap().number, 4);
        std::fs::remove_dir_all(results).unwrap();
    }

    /// A kill -9 between the folder and its file left a number without a generation; the next start then took the next
    /// one for the same instances, and the objects got other UIDs.
    #[test]
    fn a_kill_before_the_file_is_there_makes_no_new_generation() {
        let results = std::env::temp_dir().join(format!("sagitta-blank-{}", std::process::id()));
        let job = JobId::new(b"key", "1.2.3");
        let folder = results.join(job.as_str()).join("1");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("made.json.part"), "{\"date\":").unwrap();
        let first = of(&results, &job, 15).unwrap();
        assert_eq!((first.number, first.finished), (1, false));
        assert!(!folder.join("made.json.part").exists());
        // The same with late images.
        std::fs::create_dir(results.join(job.as_str()).join("2")).unwrap();
        assert_eq!(of(&results, &job, 15).unwrap(), first);
        assert_eq!(of(&results, &job, 17).unwrap().number, 2);
        std::fs::remove_dir_all(results).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_now_is_no_reason_for_a_new_generation() {
        let results = std::env::temp_dir().join(format!("sagitta-unread-{}", std::process::id()));
        let job = JobId::new(b"key", "1.2.3");
        // A folder in place of the file: reading it fails, as a bad disk would.
        std::fs::create_dir_all(results.join(job.as_str()).join("1").join(FILE_NAME)).unwrap();
        of(&results, &job, 15).unwrap_err();
        std::fs::remove_dir_all(results).unwrap();
    }
}
