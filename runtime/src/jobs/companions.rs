//! What the series of a study are to one another: a better image of the same acquisition, the same slices before a contrast
//! agent (scanner-side section 5, rules 4 and 5).
//!
//! Layout: `COMPANIONS/FRAME/JOB.json`, where FRAME stands for study and frame of reference as in [`super::levels`], for each
//! series with a result. Nobody waits for a companion that may never come: a series is segmented when it is complete, and its
//! better twin, when it comes later, is segmented too and says which result it supersedes. What a generation met is kept in its
//! own folder before its first run, so that a run after a crash says the same whatever came in between.

use super::generation::Generation;
use super::levels::{EXTENSION, frame_of, place};
use crate::decode::DicomSeries;
use crate::decode::selection::Class;
use crate::durable;
use crate::identity::{JobId, Superseded};
use dicom_dictionary_std::tags;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// Name of the file in a generation's folder.
const FILE_NAME: &str = "companions.json";

/// What is remembered of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    job: JobId,
    class: Class,
    /// Dims, and the affine in hundredths of its unit.
    place: ([usize; 3], [[i64; 3]; 4]),
    begun: Option<String>,
    corrections: usize,
    /// The last one with a result.
    #[serde(default = "first")]
    generation: u32,
    #[serde(default)]
    series_number: Option<i64>,
}

fn first() -> u32 {
    1
}

/// What the other series of a study say about one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Company {
    /// A better image of the same acquisition was taken.
    pub better: Option<JobId>,
    /// A worse image of the same acquisition was taken: its result is superseded.
    pub worse: Option<Superseded>,
    /// The same slices, T1 weighted too, were acquired earlier.
    pub follows_t1: bool,
}

/// The series remembered on this device.
#[derive(Debug)]
pub struct Companions {
    folder: PathBuf,
    site_key: Vec<u8>,
}

impl Companions {
    /// Keeps files in `folder`, which need not be there yet.
    pub fn new(folder: PathBuf, site_key: Vec<u8>) -> Companions {
        Companions { folder, site_key }
    }

    /// What is known of the companions of a series, for a generation of it. Blocks on the disk.
    pub fn meet(
        &self,
        dicom: &DicomSeries,
        job: &JobId,
        generation: &Generation,
    ) -> io::Result<Company> {
        let Some(frame) = self.frame(dicom) else { return Ok(Company::default()) };
        let path = generation.folder.join(FILE_NAME);
        // One that is there is whole. If it cannot be read now, another must not take its place.
        match std::fs::read(&path) {
            Ok(bytes) => return Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut others = Vec::new();
        for path in durable::files(&frame, EXTENSION)? {
            let entry: Option<Entry> = serde_json::from_slice(&std::fs::read(path)?).ok();
            others.extend(entry.filter(|entry| entry.job != *job));
        }
        let company = Entry::of(dicom, job, generation.number).among(&others);
        if company.better.is_none() {
            durable::write(&path, &serde_json::to_vec(&company)?)?;
        }
        Ok(company)
    }

    /// Remembers a series with a result for those to come. Blocks on the disk.
    pub fn keep(&self, dicom: &DicomSeries, job: &JobId, generation: u32) -> io::Result<()> {
        let Some(frame) = self.frame(dicom) else { return Ok(()) };
        let own = Entry::of(dicom, job, generation);
        durable::write(&place(&frame, job), &serde_json::to_vec(&own)?)
    }

    /// The folder for study and frame of reference, `None` where it has none.
    fn frame(&self, dicom: &DicomSeries) -> Option<PathBuf> {
        frame_of(dicom, &self.site_key).map(|name| self.folder.join(name))
    }
}

impl Entry {
    fn of(dicom: &DicomSeries, job: &JobId, generation: u32) -> Entry {
        let grid = dicom.series.volume.grid();
        let hundredths = |point: [f64; 3]| point.map(|value| (100.0 * value).round() as i64);
        let [a, b, c] = grid.affine.axes();
        Entry {
            job: job.clone(),
            class: dicom.selection.class,
            place: (grid.dims.counts(), [a, b, c, grid.affine.origin()].map(hundredths)),
            begun: dicom.acquisition.begun.clone(),
            corrections: dicom.acquisition.corrections,
            generation,
            series_number: dicom.text(tags::SERIES_NUMBER).and_then(|text| text.parse().ok()),
        }
    }

    fn among(&self, others: &[Entry]) -> Company {
        let here = || others.iter().filter(|other| other.place == self.place);
        let twins = || {
            here().filter(|other| {
                other.class == self.class && self.begun.is_some() && other.begun == self.begun
            })
        };
        let best = twins().max_by_key(|other| (other.corrections, &other.job));
        let earlier = |other: &Entry| {
            other.class.is_t1() && other.begun.is_some() && other.begun < self.begun
        };
        let superseded = |twin: &Entry| Superseded {
            job: twin.job.clone(),
            generation: twin.generation,
            series_number: twin.series_number,
        };
        let better = best.filter(|twin| twin.corrections > self.corrections);
        Company {
            better: better.map(|twin| twin.job.clone()),
            worse: best.filter(|twin| twin.corrections < self.corrections).map(superseded),
            follows_t1: here().any(earlier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: &str, class: Class, begun: &str, corrections: usize) -> Entry {
        Entry {
            job: JobId::new(b"key", uid),
            class,
            place: ([9, 9, 9], [[100, 0, 0], [0, 100, 0], [0, 0, 300], [0, 0, 0]]),
            begun: (!begun.is_empty()).then(|| begun.to_owned()),
            corrections,
            generation: 1,
            series_number: Some(4),
        }
    }

    #[test]
    fn twins_are_of_one_acquisition_and_one_is_better() {
        let (plain, corrected) =
            (entry("1", Class::T2, "0801", 1), entry("2", Class::T2, "0801", 3));
        let alone = Company::default();
        let met = |own: &Entry, other: &Entry| own.among(std::slice::from_ref(other));
        let better = Company { better: Some(corrected.job.clone()), ..alone.clone() };
        assert_eq!(met(&plain, &corrected), better);
        let twin = Superseded { job: plain.job.clone(), generation: 1, series_number: Some(4) };
        let worse = Company { worse: Some(twin), ..alone.clone() };
        assert_eq!(met(&corrected, &plain), worse);
        for other in [
            entry("3", Class::T2, "0802", 3),
            entry("4", Class::Stir, "0801", 3),
            Entry { place: ([9, 9, 8], plain.place.1), ..corrected.clone() },
        ] {
            assert_eq!(met(&plain, &other), alone, "{other:?}");
        }
        let (a, b) = (entry("5", Class::T2, "", 1), entry("6", Class::T2, "", 3));
        assert_eq!(met(&a, &b), alone, "nobody knows when");
        assert_eq!(met(&plain, &entry("7", Class::T2, "0801", 1)), alone, "sent again as another");
    }

    #[test]
    fn a_t1_may_follow_another_of_the_same_slices() {
        let (before, after) = (entry("1", Class::T1, "0801", 1), entry("2", Class::T1, "0830", 1));
        let follows =
            |own: &Entry, other: &Entry| own.among(std::slice::from_ref(other)).follows_t1;
        assert!(follows(&after, &before) && !follows(&before, &after));
        assert!(!follows(&after, &entry("3", Class::T2, "0801", 1)));
    }
}
