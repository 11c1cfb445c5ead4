//! The generations of a series: late instances make a new result, and a repetition makes the same one again.
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
}

/// What the folder of a generation says.
enum Found {
    Made(File),
    /// Killed before it was begun: there is the folder, and nothing was made under its number.
    Blank,
    /// A file that cannot be understood names no instances: its number is taken, nothing else.
    Taken,
}

/// The generation of `job` that is made of so many instances; a new one if there is none. Blocks on the disk.
pub fn of(results: &Path, job: &JobId, instances: usize) -> io::Result<Generation> {
    let root = results.join(job.as_str());
    let (mut last, mut blank) = (0, None);
    for number in numbers(&root)? {
        let folder = root.join(number.to_string());
        match look(&folder)? {
            Found::Made(File { made, instances: there }) if there == instances => {
                let finished = folder.join(report::FILE_NAME).exists();
                return Ok(Generation { number, made, folder, finished });
            }
            Found::Made(_) | Found::Taken => last = last.max(number),
            Found::Blank => blank = blank.max(Some(number)),
        }
    }
    // A number below one that was given out stays unused: generations count up.
    let number = blank.filter(|&number| number > last).unwrap_or(last + 1);
    let (made, folder) = (now(), root.join(number.to_string()));
    let file = File { made: made.clone(), instances };
    let bytes = serde_json::to_vec(&file).expect("two strings and a number");
    durable::write(&folder.join(FILE_NAME), &bytes)?;
    Ok(Generation { number, made, folder, finished: false })
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
