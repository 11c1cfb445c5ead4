//! The outputs of one result: its DICOM objects, sent in advance as they are made, its pictures and its files.

use super::produce::{ProduceError, Request};
use super::source::Source;
use crate::decode::DicomSeries;
use crate::durable::{self, Batch};
use crate::files;
use crate::identity::Provenance;
use crate::messages::OutputKind as Published;
use crate::objects::{self, ObjectError, OutputKind, OutputObject};
use crate::publish::advance::Advance;
use crate::render::{self, Scene};
use crate::report::Outputs;
use crate::seal::{Digest, Digests};
use pipeline::{Masks, Segmentation, Series};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of a result on their way to the disk. What a delivery refers to must be there after a power cut, and whole at any time:
/// one of an earlier run may be reading it. So none has its name before all of them are durable.
#[derive(Default)]
pub(super) struct Written {
    outputs: Outputs,
    digests: Digests,
    batch: Batch,
}

impl Written {
    /// Writes the file `name` of a folder.
    fn write(&mut self, folder: &Path, name: String, bytes: &[u8]) -> Result<(), ProduceError> {
        let path = folder.join(&name);
        let written = self.batch.write(path.clone(), bytes);
        written.map_err(|source| ProduceError::Write { path, source })?;
        self.digests.insert(name, Digest::of(bytes));
        Ok(())
    }

    pub(super) fn append(&mut self, other: Written) {
        self.outputs.extend(other.outputs);
        self.digests.extend(other.digests);
        self.batch.append(other.batch);
    }

    /// Makes all files durable: where they are, and their digests.
    pub(super) fn commit(self) -> Result<(Outputs, Digests), ProduceError> {
        let Written { outputs, digests, batch } = self;
        batch.commit().map_err(|(path, source)| ProduceError::Write { path, source })?;
        Ok((outputs, digests))
    }
}

/// One object a slice, in a folder of their own.
fn is_series(kind: OutputKind) -> bool {
    matches!(kind, OutputKind::DerivedMr | OutputKind::SecondaryCapture)
}

/// Where a kind of object lies in the folder of a result.
fn place(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::DerivedMr => "derived",
        OutputKind::SecondaryCapture => "capture",
        OutputKind::SemanticSegmentation => "seg.dcm",
        OutputKind::InstanceSegmentation => "seg-vert.dcm",
        OutputKind::Measurements => "sr.dcm",
        OutputKind::PresentationState => "gsps.dcm",
        OutputKind::Labelmap => "seg-labelmap.dcm",
        OutputKind::Lesions => "seg-lesions.dcm",
    }
}

/// The objects of a kind that were written into the folder of a result, in the order in which they were made.
pub fn objects_in(folder: &Path, kind: OutputKind) -> std::io::Result<Vec<PathBuf>> {
    let path = folder.join(place(kind));
    if is_series(kind) {
        let mut files = durable::files(&path, "dcm")?;
        files.sort();
        return Ok(files);
    }
    Ok(path.is_file().then_some(path).into_iter().collect())
}

/// The name of the file of an object in the folder of its result.
fn file_name(object: &OutputObject) -> String {
    let place = place(object.kind);
    match is_series(object.kind) {
        true => format!("{place}/{}", object.file_name),
        false => place.to_owned(),
    }
}

/// The DICOM objects of a result as they are made, in the order in which a destination wants them. A source that is no DICOM
/// has none.
pub(super) struct Objects<'a> {
    source: Option<&'a DicomSeries>,
    request: &'a Request,
    provenance: &'a Provenance,
    advance: &'a Advance<'a>,
    /// Each with the name of its file.
    made: Vec<(Arc<OutputObject>, String)>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(
        source: &'a Source,
        request: &'a Request,
        provenance: &'a Provenance,
        advance: &'a Advance<'a>,
    ) -> Objects<'a> {
        let source = match source {
            Source::Dicom(dicom) => Some(&**dicom),
            Source::Volume(_) => None,
        };
        Objects { source, request, provenance, advance, made: Vec::new() }
    }

    /// Makes and sends what a console shows.
    pub(super) fn images(&mut self, masks: Masks<'_>) -> Result<(), ObjectError> {
        let Some(source) = self.source else { return Ok(()) };
        let (provenance, made) = (self.provenance, &self.request.made);
        let captures = render::captures(&source.series, masks, provenance);
        let mut keep = |object| self.keep(object);
        objects::images(source, masks, provenance, made, captures, &mut keep)
    }

    /// Makes and sends all others.
    pub(super) fn documents(&mut self, segmentation: &Segmentation) -> Result<(), ObjectError> {
        let Some(source) = self.source else { return Ok(()) };
        let (provenance, made) = (self.provenance, &self.request.made);
        objects::documents(source, segmentation, provenance, made, &mut |object| {
            self.keep(object)
        })?;
        if self.request.labelmap {
            let labelmap = objects::labelmap(source, segmentation, provenance, made)?;
            labelmap.into_iter().for_each(|object| self.keep(object));
        }
        Ok(())
    }

    fn keep(&mut self, object: OutputObject) {
        let (name, object) = (file_name(&object), Arc::new(object));
        self.advance.send(&object, &self.request.folder.join(&name));
        self.made.push((object, name));
    }

    /// Writes all of them; each with its path.
    pub(super) fn write(self) -> Result<(Vec<(OutputKind, PathBuf)>, Written), ProduceError> {
        let (folder, mut written) = (&self.request.folder, Written::default());
        let mut listed = Vec::with_capacity(self.made.len());
        for (object, name) in self.made {
            written.outputs.add(Published::from(object.kind), folder.join(place(object.kind)));
            listed.push((object.kind, folder.join(&name)));
            written.write(folder, name, &object.bytes)?;
        }
        Ok((listed, written))
    }
}

/// What people look at, and the files that are no DICOM.
pub(super) struct Pictures {
    pub(super) scene: Scene,
    pub(super) overview: Vec<u8>,
    pub(super) written: Written,
}

impl Pictures {
    pub(super) fn make(
        series: &Series,
        segmentation: &Segmentation,
        provenance: &Provenance,
        request: &Request,
    ) -> Result<Pictures, ProduceError> {
        let scene = Scene::new(&series.volume, segmentation, provenance, None);
        let overview = scene.overlay_png();
        let mut written = Written::default();
        for file in files::build(series, segmentation, provenance, &request.name, &overview)? {
            written.outputs.add(file.kind, request.folder.join(&file.name));
            written.write(&request.folder, file.name, &file.bytes)?;
        }
        Ok(Pictures { scene, overview, written })
    }
}
