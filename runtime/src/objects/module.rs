//! What all our objects share: patient, study and frame of reference copied from the source,
//! series, equipment, geometry, references to the source, identity, and the Part 10 file around it.
//!
//! Attributes of one kind of object are in the module of each.

use super::codes;
use super::element::{
    Code, LO_CHARACTERS, ST_CHARACTERS, code, copied, decimals, empty, line, sequence, text,
    value_of,
};
use super::header::slice_thickness;
use super::{Made, ObjectError, OutputKind, OutputObject, TRANSFER_SYNTAX};
use crate::decode::{DicomSeries, FrameRef};
use crate::identity::{NetName, Provenance, derived_uid};
use crate::part10::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::mem::InMemElement;
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{FileMetaTable, InMemDicomObject};
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use kernels::volume::{cross, dot, norm, scale};
use kernels::{Grid, Volume};
use pipeline::Masks;

/// Manufacturer and model of the equipment that made our objects.
pub(super) const MANUFACTURER: &str = "Sagitta";
/// Enhanced General Equipment wants a serial number (type 1, PS3.3 C.7.5.2). The appliance's own is
/// not part of a result: another device repeats the same bytes.
const SERIAL_NUMBER: &str = "none";
/// The words that every object carries where its readers look.
pub(super) const WARNING: &str = "AI result, not for diagnostic use";
/// Patient, study and patient study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2): attributes copied
/// with their raw values; those of type 2 are there even when empty.
const COPIED: [(Tag, Option<VR>); 23] = [
    (tags::SPECIFIC_CHARACTER_SET, None),
    (tags::PATIENT_NAME, Some(VR::PN)),
    (tags::PATIENT_ID, Some(VR::LO)),
    (tags::ISSUER_OF_PATIENT_ID, None),
    (tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, None),
    (tags::PATIENT_BIRTH_DATE, Some(VR::DA)),
    (tags::PATIENT_BIRTH_TIME, None),
    (tags::PATIENT_SEX, Some(VR::CS)),
    (tags::PATIENT_COMMENTS, None),
    (tags::PATIENT_IDENTITY_REMOVED, None),
    (tags::DEIDENTIFICATION_METHOD, None),
    (tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, None),
    (tags::PATIENT_AGE, None),
    (tags::PATIENT_SIZE, None),
    (tags::PATIENT_WEIGHT, None),
    (tags::STUDY_DATE, Some(VR::DA)),
    (tags::STUDY_TIME, Some(VR::TM)),
    (tags::STUDY_ID, Some(VR::SH)),
    (tags::STUDY_DESCRIPTION, None),
    (tags::ACCESSION_NUMBER, Some(VR::SH)),
    (tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, None),
    (tags::REFERRING_PHYSICIAN_NAME, Some(VR::PN)),
    (tags::POSITION_REFERENCE_INDICATOR, Some(VR::LO)),
];

/// Bytes of a file besides its pixels, for most files: it need not grow while it is written.
const HEADER_ROOM: usize = 16 << 10;

/// What the acquisition equipment item takes over from the source (PS3.3 C.12.1, General
/// Equipment).
const ACQUISITION: [Tag; 6] = [
    tags::INSTITUTION_NAME,
    tags::STATION_NAME,
    tags::MANUFACTURER,
    tags::MANUFACTURER_MODEL_NAME,
    tags::DEVICE_SERIAL_NUMBER,
    tags::SOFTWARE_VERSIONS,
];

/// One result, checked against its source.
pub(super) struct Context<'a> {
    source: &'a DicomSeries,
    provenance: &'a Provenance,
    made: &'a Made,
    /// Everything that decides the pixels, as one UID: see [`Context::uid`].
    fingerprint: String,
    study_uid: String,
    series_uid: String,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        source: &'a DicomSeries,
        masks: Masks<'_>,
        provenance: &'a Provenance,
        made: &'a Made,
    ) -> Result<Context<'a>, ObjectError> {
        let grid = source.series.volume.grid();
        if masks.semantic.grid() != grid {
            return Err(ObjectError::OffGrid { mask: "semantic" });
        }
        if masks.instances.grid() != grid {
            return Err(ObjectError::OffGrid { mask: "instance" });
        }
        let [columns, rows, slices] = grid.dims.counts();
        if columns.max(rows) > usize::from(u16::MAX) {
            return Err(ObjectError::TooLarge { columns, rows });
        }
        for slice in 0..slices {
            let frame = source.series.sources.get(slice).and_then(|&at| source.frames.get(at));
            if frame.and_then(|frame| source.instances.get(frame.instance)).is_none() {
                return Err(ObjectError::UnknownSource { slice });
            }
        }
        let required = |tag, attribute| {
            value_of(&source.header, tag).ok_or(ObjectError::MissingSource { attribute })
        };
        let study_uid = required(tags::STUDY_INSTANCE_UID, "Study Instance UID")?;
        let series_uid = required(tags::SERIES_INSTANCE_UID, "Series Instance UID")?;
        let fingerprint = fingerprint(source, provenance);
        Ok(Context { source, provenance, made, fingerprint, study_uid, series_uid })
    }

    pub(super) fn header(&self) -> &InMemDicomObject {
        &self.source.header
    }

    pub(super) fn grid(&self) -> &Grid {
        self.source.series.volume.grid()
    }

    pub(super) fn image(&self) -> &Volume<f32> {
        &self.source.series.volume
    }

    pub(super) fn study_uid(&self) -> &str {
        &self.study_uid
    }

    /// The source's.
    pub(super) fn series_uid(&self) -> &str {
        &self.series_uid
    }

    /// The series of our objects of a kind.
    pub(super) fn own_series_uid(&self, kind: OutputKind) -> String {
        self.uid("series", kind, 0)
    }

    pub(super) fn provenance(&self) -> &Provenance {
        self.provenance
    }

    pub(super) fn made(&self) -> &Made {
        self.made
    }

    /// A UID that is a function of (source instances in slice order, model, configuration, engine
    /// and precision, software, generation) and of what it names in the result.
    pub(super) fn uid(&self, role: &str, kind: OutputKind, number: usize) -> String {
        derived_uid(&[&self.fingerprint, role, kind.name(), &number.to_string()])
    }

    /// Names a structure through all objects of the result: its value in the mask behind `kind`.
    pub(super) fn tracking_uid(&self, kind: OutputKind, value: u16) -> String {
        self.uid("tracking", kind, value.into())
    }

    /// The reference to an object of this result.
    pub(super) fn own(&self, kind: OutputKind) -> InMemDicomObject {
        reference(kind.sop_class(), &self.uid("instance", kind, 1))
    }

    /// The attributes that every object has: SOP common, patient, study, series, frame of
    /// reference, equipment, date. `instance` counts from 1 within the series of `kind`.
    pub(super) fn common(&self, kind: OutputKind, instance: usize) -> InMemDicomObject {
        let mut object = InMemDicomObject::new_empty();
        for (tag, required) in COPIED {
            let absent = || required.map(|vr| empty(tag, vr));
            if let Some(element) = copied(self.header(), tag).or_else(absent) {
                object.put(element);
            }
        }
        let Made { date, time } = self.made;
        for element in [
            text(tags::SOP_CLASS_UID, VR::UI, kind.sop_class()),
            text(tags::SOP_INSTANCE_UID, VR::UI, self.uid("instance", kind, instance)),
            text(tags::STUDY_INSTANCE_UID, VR::UI, &*self.study_uid),
            text(tags::SERIES_INSTANCE_UID, VR::UI, self.own_series_uid(kind)),
            text(tags::FRAME_OF_REFERENCE_UID, VR::UI, self.frame_of_reference()),
            text(tags::SERIES_NUMBER, VR::IS, self.series_number(kind).to_string()),
            text(tags::SERIES_DESCRIPTION, VR::LO, self.series_description(kind)),
            text(tags::INSTANCE_NUMBER, VR::IS, instance.to_string()),
            text(tags::INSTANCE_CREATION_DATE, VR::DA, date),
            text(tags::INSTANCE_CREATION_TIME, VR::TM, time),
            text(tags::SERIES_DATE, VR::DA, date),
            text(tags::SERIES_TIME, VR::TM, time),
            text(tags::CONTENT_DATE, VR::DA, date),
            text(tags::CONTENT_TIME, VR::TM, time),
        ] {
            object.put(element);
        }
        // Without a body part the series would have to say its laterality (PS3.3 C.7.3.1, type 2C).
        let part = value_of(self.header(), tags::BODY_PART_EXAMINED);
        let part = part.unwrap_or_else(|| "SPINE".to_owned());
        object.put(text(tags::BODY_PART_EXAMINED, VR::CS, part));
        for element in self.equipment() {
            object.put(element);
        }
        object
    }

    /// Our own equipment (PS3.3 C.7.5.1, C.7.5.2), and who contributed: the scanner and, with
    /// everything needed to trace the result, the processing.
    fn equipment(&self) -> [InMemElement; 5] {
        let Provenance {
            software,
            model,
            model_version,
            weights_sha256,
            instance,
            patches,
            engine,
            ..
        } = self.provenance;
        let mut versions = vec![
            line(software, LO_CHARACTERS),
            line(&format!("{model} {model_version}"), LO_CHARACTERS),
            line(weights_sha256, LO_CHARACTERS),
        ];
        for NetName { model, version, weights_sha256 } in instance.iter().chain(patches) {
            versions.push(line(&format!("{model} {version}"), LO_CHARACTERS));
            versions.push(line(weights_sha256, LO_CHARACTERS));
        }
        versions.push(line(engine, LO_CHARACTERS));
        let versions = versions.join("\\");
        let own = || {
            [
                text(tags::MANUFACTURER, VR::LO, MANUFACTURER),
                text(tags::MANUFACTURER_MODEL_NAME, VR::LO, MANUFACTURER),
                text(tags::DEVICE_SERIAL_NUMBER, VR::LO, SERIAL_NUMBER),
                text(tags::SOFTWARE_VERSIONS, VR::LO, &*versions),
            ]
        };
        let mut contributors: Vec<InMemDicomObject> = self.acquisition().into_iter().collect();
        let mut processing = InMemDicomObject::from_element_iter(own());
        for element in [
            code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::PROCESSING_EQUIPMENT),
            text(
                tags::CONTRIBUTION_DATE_TIME,
                VR::DT,
                format!("{}{}", self.made.date, self.made.time),
            ),
            text(
                tags::CONTRIBUTION_DESCRIPTION,
                VR::ST,
                line(&format!("{WARNING}. {}", self.trace()), ST_CHARACTERS),
            ),
        ] {
            processing.put(element);
        }
        contributors.push(processing);
        let [manufacturer, model, serial, versions] = own();
        let contributing = sequence(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, contributors);
        [manufacturer, model, serial, versions, contributing]
    }

    /// The scanner's item of the contributing equipment; `None` when the source does not name its
    /// manufacturer.
    fn acquisition(&self) -> Option<InMemDicomObject> {
        value_of(self.header(), tags::MANUFACTURER)?;
        let copies = ACQUISITION.iter().filter_map(|&tag| copied(self.header(), tag));
        let purpose = code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::ACQUISITION_EQUIPMENT);
        Some(InMemDicomObject::from_element_iter(copies.chain([purpose])))
    }

    /// The provenance as `name=value` pairs, one line.
    pub(super) fn trace(&self) -> String {
        let p = self.provenance;
        let named = |name: &str, NetName { model, version, weights_sha256 }: &NetName| {
            format!("{name}-model={model} {version}; {name}-weights-sha256={weights_sha256}; ")
        };
        let instance = p.instance.as_ref().map(|net| named("instance", net));
        let instance = instance.unwrap_or_else(|| "instance-model=none; ".to_owned());
        let patches: String = p.patches.iter().map(|net| named("patch", net)).collect();
        format!(
            "software={}; model={} {}; weights-sha256={}; {instance}{patches}engine={}; \
             configuration-sha256={}; generation={}",
            p.software,
            p.model,
            p.model_version,
            p.weights_sha256,
            p.engine,
            p.configuration_sha256,
            p.generation
        )
    }

    /// A source without a frame of reference gets one of its own, the same for all objects of the
    /// result.
    fn frame_of_reference(&self) -> String {
        value_of(self.header(), tags::FRAME_OF_REFERENCE_UID)
            .unwrap_or_else(|| derived_uid(&["frame of reference", &self.series_uid]))
    }

    fn frame(&self, slice: usize) -> FrameRef {
        self.source.frames[self.source.series.sources[slice]]
    }

    /// The image behind slice `k` (PS3.3 table 10-3).
    pub(super) fn image_of(&self, slice: usize) -> InMemDicomObject {
        let frame = self.frame(slice);
        let mut item = self.reference(frame.instance);
        if let Some(number) = frame.frame {
            item.put(text(tags::REFERENCED_FRAME_NUMBER, VR::IS, number.to_string()));
        }
        item
    }

    /// The reference from a result to the image behind slice `k` (PS3.3 C.7.6.16.2.6).
    pub(super) fn source_image(&self, slice: usize) -> InMemDicomObject {
        let mut item = self.image_of(slice);
        item.put(text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES"));
        item.put(code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::SOURCE_IMAGE));
        item
    }

    fn reference(&self, instance: usize) -> InMemDicomObject {
        let instance = &self.source.instances[instance];
        reference(&instance.sop_class_uid, &instance.sop_instance_uid)
    }

    /// The instances behind the slices, in slice order, each once.
    pub(super) fn images(&self) -> Vec<InMemDicomObject> {
        self.references((0..self.grid().dims.counts()[2]).map(|k| self.frame(k).instance))
    }

    fn references(&self, instances: impl Iterator<Item = usize>) -> Vec<InMemDicomObject> {
        let mut listed = vec![false; self.source.instances.len()];
        let once = instances.filter(|&instance| !std::mem::replace(&mut listed[instance], true));
        once.map(|instance| self.reference(instance)).collect()
    }

    /// The source series with all its instances (PS3.3 C.12.2): those of the slices in slice order,
    /// then the others.
    pub(super) fn referenced_series(&self) -> InMemElement {
        let slices = (0..self.grid().dims.counts()[2]).map(|k| self.frame(k).instance);
        let instances = self.references(slices.chain(0..self.source.instances.len()));
        let series = InMemDicomObject::from_element_iter([
            text(tags::SERIES_INSTANCE_UID, VR::UI, &*self.series_uid),
            sequence(tags::REFERENCED_INSTANCE_SEQUENCE, instances),
        ]);
        sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series])
    }

    /// Direction cosines along increasing column, then along increasing row (PS3.3 C.7.6.2.1.1).
    pub(super) fn directions(&self) -> [[f64; 3]; 2] {
        let [i, j, _] = self.grid().affine.axes();
        [scale(i, 1.0 / norm(i)), scale(j, 1.0 / norm(j))]
    }

    pub(super) fn orientation(&self) -> InMemElement {
        decimals(tags::IMAGE_ORIENTATION_PATIENT, self.directions().as_flattened())
    }

    /// Centre of the first pixel of slice `k`.
    pub(super) fn position(&self, slice: usize) -> InMemElement {
        let world = self.grid().affine.world([0.0, 0.0, slice as f64]);
        decimals(tags::IMAGE_POSITION_PATIENT, &world)
    }

    /// Pixel spacing (rows first), slice thickness and the distance between slices along the
    /// normal, in mm.
    pub(super) fn pixel_measures(&self) -> [InMemElement; 3] {
        let [dx, dy, _] = self.grid().affine.spacing();
        let [row, column] = self.directions();
        let pitch = dot(self.grid().affine.axes()[2], cross(row, column)).abs();
        let thickness = slice_thickness(self.header()).unwrap_or(pitch);
        [
            decimals(tags::PIXEL_SPACING, &[dy, dx]),
            decimals(tags::SLICE_THICKNESS, &[thickness]),
            decimals(tags::SPACING_BETWEEN_SLICES, &[pitch]),
        ]
    }

    /// The Part 10 file of a finished data set (PS3.10 section 7.1), Explicit VR Little Endian.
    pub(super) fn file(
        &self,
        kind: OutputKind,
        instance: usize,
        file_name: String,
        object: &InMemDicomObject,
    ) -> Result<OutputObject, ObjectError> {
        let encode = |source: Box<dyn std::error::Error + Send + Sync>| ObjectError::Encode {
            file_name: file_name.clone(),
            source,
        };
        let sop_instance_uid = self.uid("instance", kind, instance);
        let meta = file_meta(kind.sop_class(), &sop_instance_uid).map_err(|e| encode(e.into()))?;
        let pixels = object.get(tags::PIXEL_DATA).and_then(|pixels| pixels.header().len.get());
        let mut bytes = Vec::with_capacity(HEADER_ROOM + pixels.unwrap_or(0) as usize);
        bytes.resize(128, 0);
        bytes.extend(b"DICM");
        meta.write(&mut bytes).map_err(|e| encode(e.into()))?;
        let head_bytes = bytes.len();
        object
            .write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(|e| encode(e.into()))?;
        Ok(OutputObject {
            kind,
            file_name,
            sop_class_uid: kind.sop_class().to_owned(),
            sop_instance_uid,
            transfer_syntax_uid: TRANSFER_SYNTAX.to_owned(),
            bytes,
            head_bytes,
        })
    }
}

fn file_meta(class: &str, instance: &str) -> Result<FileMetaTable, dicom_object::meta::Error> {
    FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(instance)
        .transfer_syntax(TRANSFER_SYNTAX)
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION)
        .build()
}

fn reference(class: &str, instance: &str) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance),
    ])
}

/// Everything that decides the pixels of a result.
fn fingerprint(source: &DicomSeries, provenance: &Provenance) -> String {
    let frames = source.series.sources.iter().map(|&at| source.frames[at]);
    let images: Vec<String> = frames
        .map(|frame| {
            let uid = &source.instances[frame.instance].sop_instance_uid;
            format!("{uid}#{}", frame.frame.unwrap_or(0))
        })
        .collect();
    let Provenance {
        software,
        model,
        model_version,
        weights_sha256,
        instance,
        patches,
        engine,
        configuration_sha256,
        generation,
        // Within the configuration.
        supersedes: _,
    } = provenance;
    let generation = generation.to_string();
    let made_by =
        [software, model, model_version, weights_sha256, engine, configuration_sha256, &generation];
    let nets = instance.iter().chain(patches);
    let nets = nets.flat_map(|net| [&net.model, &net.version, &net.weights_sha256]);
    let parts: Vec<&str> = images.iter().chain(made_by).chain(nets).map(String::as_str).collect();
    derived_uid(&parts)
}

/// The derivation of an image from its source: what was done.
pub(super) fn derivation(code_of: Code) -> InMemElement {
    code(tags::DERIVATION_CODE_SEQUENCE, code_of)
}
