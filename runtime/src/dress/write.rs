//! The modules that classic and Enhanced objects share, and the DICOM file around a data set (PS3.10).

use super::attributes::Attributes;
use super::{DressError, DressedObject, Dressing};
use dicom_dictionary_std::{tags, uids};
use dicom_object::FileMetaTableBuilder;

/// Study, series and content date and time, fixed: the bytes are a function of the recipe.
pub(super) const DATE: &str = "20260105";
pub(super) const TIME: &str = "101500";
/// DATE and TIME as one DT.
pub(super) const DATE_TIME: &str = "20260105101500";
/// The proton frequency of the claimed 1.5 T, MHz.
pub(super) const FREQUENCY_MHZ: f64 = 63.87;
pub(super) const FIELD_TESLA: f64 = 1.5;
pub(super) const PIXEL_BANDWIDTH_HZ: f64 = 200.0;

/// Patient, General Study, General Series, Frame of Reference and General Equipment (PS3.3 A.4.3, A.36.2).
pub(super) fn common(dressed: &Dressing) -> Attributes {
    let Dressing { recipe, series, .. } = dressed;
    let equipment = recipe.vendor.equipment(recipe.form);
    let protocol = recipe.vendor.protocol(recipe.contrast);
    let mut out = Attributes::new();
    out.text(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 100")
        .text(tags::STUDY_DATE, DATE)
        .text(tags::SERIES_DATE, DATE)
        .text(tags::CONTENT_DATE, DATE)
        .text(tags::STUDY_TIME, TIME)
        .text(tags::SERIES_TIME, TIME)
        .text(tags::CONTENT_TIME, TIME)
        .text(tags::ACCESSION_NUMBER, "")
        .text(tags::MODALITY, "MR")
        .text(tags::MANUFACTURER, equipment.manufacturer)
        .text(tags::INSTITUTION_NAME, "Sagitta phantom")
        .text(tags::REFERRING_PHYSICIAN_NAME, "")
        .text(tags::STATION_NAME, equipment.station)
        .text(tags::STUDY_DESCRIPTION, "Sagitta phantom")
        .text(tags::SERIES_DESCRIPTION, protocol.name)
        .text(tags::MANUFACTURER_MODEL_NAME, equipment.model)
        .text(tags::PATIENT_NAME, "Sagitta^Phantom")
        .text(tags::PATIENT_ID, &series.patient_id)
        .text(tags::PATIENT_BIRTH_DATE, "")
        .text(tags::PATIENT_SEX, "O")
        .text(tags::BODY_PART_EXAMINED, "SPINE")
        .decimal(tags::MAGNETIC_FIELD_STRENGTH, &[FIELD_TESLA])
        .text(tags::DEVICE_SERIAL_NUMBER, "0")
        .text(tags::SOFTWARE_VERSIONS, equipment.software)
        .text(tags::PROTOCOL_NAME, protocol.name)
        .text(tags::PATIENT_POSITION, "HFS")
        .text(tags::STUDY_INSTANCE_UID, &series.study_uid)
        .text(tags::SERIES_INSTANCE_UID, &series.series_uid)
        .text(tags::STUDY_ID, "1")
        .whole(tags::SERIES_NUMBER, &[recipe.series_number.into()])
        .whole(tags::ACQUISITION_NUMBER, &[1])
        .text(tags::FRAME_OF_REFERENCE_UID, &series.frame_of_reference_uid)
        .text(tags::POSITION_REFERENCE_INDICATOR, "")
        .text(tags::MR_ACQUISITION_TYPE, "2D");
    out
}

/// Image Pixel module (PS3.3 C.7.6.3) but for the pixels: unsigned, one sample.
pub(super) fn image_pixel(out: &mut Attributes, dressed: &Dressing) {
    let bits = u32::from(dressed.pixels.bits_stored);
    out.whole(tags::SAMPLES_PER_PIXEL, &[1])
        .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .whole(tags::ROWS, &[dressed.planes.rows.into()])
        .whole(tags::COLUMNS, &[dressed.planes.columns.into()])
        .whole(tags::BITS_ALLOCATED, &[16])
        .whole(tags::BITS_STORED, &[bits])
        .whole(tags::HIGH_BIT, &[bits - 1])
        .whole(tags::PIXEL_REPRESENTATION, &[0])
        .text(tags::LOSSY_IMAGE_COMPRESSION, "00");
}

/// Wraps a data set as a file in Explicit VR Little Endian. `number` counts the objects of the series from 1.
pub(super) fn file(
    out: Attributes,
    sop_class_uid: &str,
    sop_instance_uid: String,
    number: u16,
) -> Result<DressedObject, DressError> {
    let file_name = format!("{number:04}.dcm");
    let mut bytes = Vec::new();
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let fault = |source: Box<dyn std::error::Error + Send + Sync>| DressError::Encode {
        file_name: file_name.clone(),
        source,
    };
    out.into_object()
        .with_meta(meta)
        .map_err(|e| fault(Box::new(e)))?
        .write_all(&mut bytes)
        .map_err(|e| fault(Box::new(e)))?;
    Ok(DressedObject {
        file_name,
        sop_class_uid: sop_class_uid.to_owned(),
        sop_instance_uid,
        transfer_syntax_uid: uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
        bytes,
    })
}
