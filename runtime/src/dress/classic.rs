//! One slice as a classic MR Image object (PS3.3 A.4): image plane, MR image and pixel modules.

use super::attributes::Attributes;
use super::pixels::Rescale;
use super::style::{classic_counts, classic_numbers};
use super::write::{DATE, FREQUENCY_MHZ, PIXEL_BANDWIDTH_HZ, TIME, common, file, image_pixel};
use super::{DressError, DressedObject, Dressing, Vendor};
use dicom_core::VR;
use dicom_core::value::PrimitiveValue;
use dicom_dictionary_std::{tags, uids};

/// Slice `k` of the series.
pub(super) fn object(dressed: &Dressing, slice: u16) -> Result<DressedObject, DressError> {
    let number = slice + 1;
    let uid = dressed.series.instance_uid(number);
    let mut out = common(dressed);
    out.text(tags::SOP_CLASS_UID, uids::MR_IMAGE_STORAGE)
        .text(tags::SOP_INSTANCE_UID, &uid)
        .text(tags::ACQUISITION_DATE, DATE)
        .text(tags::ACQUISITION_TIME, TIME)
        .text(tags::INSTANCE_NUMBER, number.to_string());
    image_plane(&mut out, dressed, slice);
    mr_image(&mut out, dressed);
    image_pixel(&mut out, dressed);
    display(&mut out, dressed, slice);
    let slices = dressed.planes.slices;
    classic_numbers(&mut out, dressed.recipe.vendor, slices, slice);
    let protocol = dressed.recipe.vendor.protocol(dressed.recipe.contrast);
    classic_counts(&mut out, dressed.recipe.vendor, &protocol, slices, slice);
    let pixels = PrimitiveValue::U8(dressed.pixels.bytes(slice..slice + 1).into());
    out.put(tags::PIXEL_DATA, VR::OW, pixels);
    file(out, uids::MR_IMAGE_STORAGE, uid, number)
}

/// Image Plane module (PS3.3 C.7.6.2). Slices touch: thickness equals spacing.
fn image_plane(out: &mut Attributes, dressed: &Dressing, slice: u16) {
    let planes = dressed.planes;
    out.decimal(tags::PIXEL_SPACING, &planes.pixel_spacing())
        .decimal(tags::IMAGE_ORIENTATION_PATIENT, &planes.orientation_values())
        .decimal(tags::IMAGE_POSITION_PATIENT, &planes.position(slice))
        .decimal(tags::SLICE_THICKNESS, &[planes.spacing[2]])
        .decimal(tags::SPACING_BETWEEN_SLICES, &[planes.spacing[2]])
        .decimal(tags::SLICE_LOCATION, &[planes.location(slice)]);
}

/// MR Image module (PS3.3 C.8.3.1).
fn mr_image(out: &mut Attributes, dressed: &Dressing) {
    let (vendor, contrast) = (dressed.recipe.vendor, dressed.recipe.contrast);
    let (terms, protocol) = (vendor.classic_terms(contrast), vendor.protocol(contrast));
    let (columns, rows) = (u32::from(dressed.planes.columns), u32::from(dressed.planes.rows));
    out.text(tags::IMAGE_TYPE, terms.image_type)
        .text(tags::SCANNING_SEQUENCE, terms.scanning_sequence)
        .text(tags::SEQUENCE_VARIANT, terms.sequence_variant)
        .text(tags::SCAN_OPTIONS, terms.scan_options)
        .text(tags::ANGIO_FLAG, "N")
        .decimal(tags::REPETITION_TIME, &[protocol.repetition_time_ms])
        .decimal(tags::ECHO_TIME, &[protocol.echo_time_ms])
        .decimal(tags::NUMBER_OF_AVERAGES, &[1.0])
        .decimal(tags::IMAGING_FREQUENCY, &[FREQUENCY_MHZ])
        .text(tags::IMAGED_NUCLEUS, "1H")
        .whole(tags::ECHO_NUMBERS, &[1])
        .whole(tags::NUMBER_OF_PHASE_ENCODING_STEPS, &[rows])
        .whole(tags::ECHO_TRAIN_LENGTH, &[protocol.echo_train])
        .decimal(tags::PERCENT_SAMPLING, &[100.0])
        .decimal(tags::PERCENT_PHASE_FIELD_OF_VIEW, &[100.0])
        .decimal(tags::PIXEL_BANDWIDTH, &[PIXEL_BANDWIDTH_HZ])
        .text(tags::RECEIVE_COIL_NAME, "Spine")
        .text(tags::TRANSMIT_COIL_NAME, "Body")
        .whole(tags::ACQUISITION_MATRIX, &[columns, 0, 0, rows])
        .text(tags::IN_PLANE_PHASE_ENCODING_DIRECTION, "COL")
        .decimal(tags::FLIP_ANGLE, &[protocol.flip_angle_degrees])
        .text(tags::VARIABLE_FLIP_ANGLE_FLAG, "N");
    // Philips leaves the sequence name empty.
    let sequence = if vendor == Vendor::Philips { "" } else { protocol.sequence };
    out.text(tags::SEQUENCE_NAME, sequence);
    if let Some(inversion_time_ms) = protocol.inversion_time_ms {
        out.decimal(tags::INVERSION_TIME, &[inversion_time_ms]);
    }
}

/// Window and, where pixels are not the values themselves, the rescale. The classic MR object has no Modality LUT of its
/// own (PS3.3 A.4.3): Philips extends it always, the others here only when the values would be lost.
fn display(out: &mut Attributes, dressed: &Dressing, slice: u16) {
    let [center, width] = dressed.pixels.window;
    out.intensity(tags::WINDOW_CENTER, &[center]).intensity(tags::WINDOW_WIDTH, &[width]);
    let [smallest, largest] = dressed.pixels.extremes(slice).map(u32::from);
    out.whole(tags::SMALLEST_IMAGE_PIXEL_VALUE, &[smallest])
        .whole(tags::LARGEST_IMAGE_PIXEL_VALUE, &[largest]);
    let rescale = dressed.pixels.rescale;
    if dressed.recipe.vendor == Vendor::Philips || rescale != Rescale::IDENTITY {
        out.intensity(tags::RESCALE_INTERCEPT, &[rescale.intercept])
            .intensity(tags::RESCALE_SLOPE, &[rescale.slope])
            .text(tags::RESCALE_TYPE, "normalized");
    }
}
