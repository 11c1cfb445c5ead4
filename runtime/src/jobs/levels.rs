//! What the series of a study learn of one another's levels: where a landmark is in view, its levels are kept for the
//! series that have none.
//!
//! Layout: `LEVELS/FRAME/JOB.json` holds the vertebrae of a series that shows a landmark; FRAME stands for study and frame
//! of reference as a job id stands for a series. What a generation was numbered by is kept in its own folder before its
//! first run, so that a run after a crash numbers alike whatever came in between. `LEVELS/FRAME/JOB.open` is of a series with a
//! result whose levels nobody knows: when another one that names them comes later, it is numbered again.

use super::source::Source;
use crate::decode::DicomSeries;
use crate::durable;
use crate::identity::{JobId, frame_id};
use crate::messages::Completion;
use dicom_dictionary_std::tags;
use pipeline::numbering::is_named_by;
use pipeline::{Flag, KnownLevel, Neighbour, Numbering, Segmentation, VertebraId};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Of the files that stand for series.
pub(super) const EXTENSION: &str = "json";
/// Of those that stand for series without levels.
const OPEN: &str = "open";
/// Name of the file in a generation's folder.
const FILE_NAME: &str = "neighbours.json";

/// Other series of a study and frame of reference: their names outside this device, and what they know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Neighbours(Vec<File>);

/// A series with a landmark in view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct File {
    job: JobId,
    vertebrae: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    id: u8,
    body_centroid_mm: [f64; 3],
}

/// A series with a result whose levels nobody knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub job: JobId,
    /// Its instances in the spool.
    pub files: Vec<PathBuf>,
    pub completion: Completion,
    /// Centres of its bodies, LPS mm, top to bottom.
    centres: Vec<[f64; 3]>,
}

impl Neighbours {
    /// As the pipeline takes them.
    pub fn known(&self) -> Vec<Neighbour> {
        let level = |entry: &Entry| {
            let body_centroid_mm = entry.body_centroid_mm;
            VertebraId::new(entry.id).map(|level| KnownLevel { level, body_centroid_mm })
        };
        let levels = |file: &File| file.vertebrae.iter().filter_map(level).collect();
        self.0.iter().map(|file| Neighbour { levels: levels(file) }).collect()
    }

    /// The series whose levels a result has.
    pub fn source_of(&self, numbering: Numbering) -> Option<&JobId> {
        let Numbering::FromStudy { neighbour } = numbering else { return None };
        self.0.get(neighbour).map(|file| &file.job)
    }

    /// All of it as one text, for the configuration that a result depends on; `None` where there is nothing to depend on.
    pub fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| serde_json::to_string(self).expect("names and numbers"))
    }
}

/// The levels kept on this device.
#[derive(Debug)]
pub struct Levels {
    folder: PathBuf,
    site_key: Vec<u8>,
}

impl Levels {
    /// Keeps files in `folder`, which need not be there yet.
    pub fn new(folder: PathBuf, site_key: Vec<u8>) -> Levels {
        Levels { folder, site_key }
    }

    /// What other series of the frame of reference of `source` know, for the generation in `folder`. Blocks on the disk.
    pub fn neighbours(
        &self,
        source: &Source,
        job: &JobId,
        folder: &Path,
    ) -> io::Result<Neighbours> {
        let Some(frame) = self.frame(source) else { return Ok(Neighbours::default()) };
        let path = folder.join(FILE_NAME);
        // One that is there is whole. If it cannot be read now, another numbering must not take its place.
        match std::fs::read(&path) {
            Ok(bytes) => return Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let neighbours = others(&frame, job)?;
        durable::write(&path, &serde_json::to_vec(&neighbours)?)?;
        Ok(neighbours)
    }

    /// Keeps the levels of a series that shows a landmark itself, and no second one that speaks against it. Returns whether
    /// there were any.
    pub fn keep(
        &self,
        source: &Source,
        job: &JobId,
        segmentation: &Segmentation,
    ) -> io::Result<bool> {
        self.keep_at(self.name(source).as_deref(), job, segmentation)
    }

    /// What other series of a frame of reference know, for a result that nobody repeats. `None`: nobody knows the frame.
    pub fn known_at(&self, frame: Option<&str>, job: &JobId) -> Neighbours {
        let Some(frame) = frame else { return Neighbours::default() };
        others(&self.folder.join(frame), job).unwrap_or_else(|error| {
            tracing::warn!(%job, "levels of its study cannot be read: {error}; the site's move");
            Neighbours::default()
        })
    }

    /// As [`Levels::keep`], for a frame of reference by its name.
    pub fn keep_at(
        &self,
        frame: Option<&str>,
        job: &JobId,
        segmentation: &Segmentation,
    ) -> io::Result<bool> {
        let doubtful = segmentation.flags.contains(&Flag::LandmarksDisagree);
        let Some(frame) = frame else { return Ok(false) };
        if doubtful || !segmentation.numbering.is_by_own_landmark() {
            return Ok(false);
        }
        let entry = |v: &pipeline::Vertebra| Entry {
            id: v.id.value(),
            body_centroid_mm: v.body_centroid_mm,
        };
        let vertebrae = segmentation.vertebrae.iter().map(entry).collect();
        let file = File { job: job.clone(), vertebrae };
        durable::write(&place(&self.folder.join(frame), job), &serde_json::to_vec(&file)?)?;
        Ok(true)
    }

    /// Remembers a series that got a result without levels, to be numbered again; one that has them is forgotten.
    pub fn remember(
        &self,
        source: &Source,
        job: &JobId,
        files: &[PathBuf],
        completion: Completion,
        segmentation: &Segmentation,
    ) -> io::Result<()> {
        let Some(frame) = self.frame(source) else { return Ok(()) };
        let path = open_place(&frame, job);
        if segmentation.numbering.is_verified() {
            return durable::absent_is_fine(std::fs::remove_file(path));
        }
        let centres = segmentation.vertebrae.iter().map(|v| v.body_centroid_mm).collect();
        let open = Open { job: job.clone(), files: files.to_vec(), completion, centres };
        durable::write(&path, &serde_json::to_vec(&open)?)
    }

    /// The remembered series of the frame of reference of `source` whose levels are known by now.
    pub fn now_named(&self, source: &Source) -> io::Result<Vec<Open>> {
        let Some(frame) = self.frame(source) else { return Ok(Vec::new()) };
        let mut named = Vec::new();
        for path in durable::files(&frame, OPEN)? {
            let open: Option<Open> = serde_json::from_slice(&std::fs::read(path)?).ok();
            let Some(open) = open else { continue };
            if is_named_by(&others(&frame, &open.job)?.known(), &open.centres) {
                named.push(open);
            }
        }
        Ok(named)
    }

    /// Whether the levels of a series were kept earlier.
    pub fn are_kept(&self, source: &Source, job: &JobId) -> bool {
        self.frame(source).is_some_and(|frame| place(&frame, job).exists())
    }

    /// The folder for the frame of reference of `source`, `None` where it has none.
    fn frame(&self, source: &Source) -> Option<PathBuf> {
        self.name(source).map(|frame| self.folder.join(frame))
    }

    fn name(&self, source: &Source) -> Option<String> {
        let Source::Dicom(dicom) = source else { return None };
        frame_of(dicom, &self.site_key)
    }
}

/// What study and frame of reference of a series are called here; `None` where it has none.
pub(super) fn frame_of(dicom: &DicomSeries, site_key: &[u8]) -> Option<String> {
    let study = dicom.text(tags::STUDY_INSTANCE_UID)?;
    let frame = dicom.text(tags::FRAME_OF_REFERENCE_UID)?;
    Some(frame_id(site_key, &study, &frame))
}

/// What all series of a frame of reference know but `job`.
fn others(frame: &Path, job: &JobId) -> io::Result<Neighbours> {
    let mut files = Vec::new();
    for path in durable::files(frame, EXTENSION)? {
        let file: Option<File> = serde_json::from_slice(&std::fs::read(path)?).ok();
        files.extend(file.filter(|file| file.job != *job));
    }
    files.sort_by(|a, b| a.job.cmp(&b.job));
    Ok(Neighbours(files))
}

fn open_place(frame: &Path, job: &JobId) -> PathBuf {
    frame.join(format!("{job}.{OPEN}"))
}

/// The file of a series among those of its frame of reference.
pub(super) fn place(frame: &Path, job: &JobId) -> PathBuf {
    frame.join(format!("{job}.{EXTENSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Acquisition;
    use crate::decode::selection::Selection;
    use dicom_core::{DataElement, VR};
    use dicom_object::InMemDicomObject;
    use kernels::{Affine, Dims, Grid, Volume};
    use pipeline::Series;

    fn source(study: &str, frame: &str) -> Source {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let volume = Volume::filled(Grid { dims: Dims::new([1, 1, 1]).unwrap(), affine }, 0.0);
        let uid = |tag, value: &str| DataElement::new(tag, VR::UI, value);
        let header = InMemDicomObject::from_element_iter([
            uid(tags::STUDY_INSTANCE_UID, study),
            uid(tags::FRAME_OF_REFERENCE_UID, frame),
        ]);
        Source::Dicom(Box::new(DicomSeries {
            series: Series::from_volume(volume),
            frames: Vec::new(),
            instances: Vec::new(),
            header,
            selection: Selection::unknown(),
            acquisition: Acquisition::default(),
        }))
    }

    fn kept(levels: &Levels, source: &Source, job: &JobId) {
        let frame = levels.frame(source).unwrap();
        let vertebrae = vec![Entry { id: 24, body_centroid_mm: [1.0, 2.0, 3.0] }];
        let file = serde_json::to_vec(&File { job: job.clone(), vertebrae }).unwrap();
        durable::write(&place(&frame, job), &file).unwrap();
    }

    #[test]
    fn a_series_without_levels_is_remembered_until_another_one_names_them() {
        let root = std::env::temp_dir().join(format!("sagitta-open-{}", std::process::id()));
        let levels = Levels::new(root.clone(), b"key".to_vec());
        let [lumbar, thoracic, far] = ["1", "2", "3"].map(|uid| JobId::new(b"key", uid));
        let here = source("1.2", "1.3");
        let frame = levels.frame(&here).unwrap();
        let remember = |job: &JobId, z: f64| {
            let centres = vec![[1.0, 2.0, z + 30.0], [1.0, 2.0, z]];
            let (files, completion) = (vec!["1.dcm".into()], Completion::Silence);
            let open = Open { job: job.clone(), files, completion, centres };
            durable::write(&open_place(&frame, job), &serde_json::to_vec(&open).unwrap()).unwrap();
            open
        };
        // L5 of the lumbar series lies at z = 3.
        let (open, _) = (remember(&thoracic, 3.0), remember(&far, 500.0));
        assert_eq!(levels.now_named(&here).unwrap(), []);
        kept(&levels, &here, &lumbar);
        assert_eq!(levels.now_named(&here).unwrap(), [open]);
        assert_eq!(levels.now_named(&source("1.2", "1.4")).unwrap(), []);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_generation_keeps_what_it_was_numbered_by() {
        let root = std::env::temp_dir().join(format!("sagitta-levels-{}", std::process::id()));
        let levels = Levels::new(root.join("levels"), b"key".to_vec());
        let [lumbar, thoracic, other] = ["1", "2", "3"].map(|uid| JobId::new(b"key", uid));
        let here = source("1.2", "1.3");
        kept(&levels, &here, &lumbar);
        kept(&levels, &here, &thoracic);
        kept(&levels, &source("1.2", "1.4"), &other);
        let ask = |place: &str| levels.neighbours(&here, &thoracic, &root.join(place)).unwrap();
        // Another frame of reference and the job itself are no neighbours.
        let first = ask("first");
        assert_eq!(first.0.iter().map(|file| &file.job).collect::<Vec<_>>(), [&lumbar]);
        assert_eq!(first.known()[0].levels[0].level, VertebraId::L5);
        assert_eq!(first.source_of(Numbering::FromStudy { neighbour: 0 }), Some(&lumbar));
        kept(&levels, &here, &other);
        assert_eq!(ask("first"), first, "a repetition");
        assert_eq!(ask("second").0.len(), 2);
        // A folder in place of the file: reading it fails, as a bad disk would.
        std::fs::create_dir_all(root.join("third").join(FILE_NAME)).unwrap();
        levels.neighbours(&here, &thoracic, &root.join("third")).unwrap_err();
        assert_eq!((Neighbours::default().text(), first.text().is_some()), (None, true));
        std::fs::remove_dir_all(root).unwrap();
    }
}
