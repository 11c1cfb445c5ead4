//! The series as one Enhanced MR Image object (PS3.3 A.36.2): dimensions, shared and per-frame functional groups.

use super::attributes::Attributes;
use super::style::{enhanced_counts, siemens_shared_group};
use super::write::{DATE_TIME, FREQUENCY_MHZ, PIXEL_BANDWIDTH_HZ, common, file, image_pixel};
use super::{DressError, DressedObject, Dressing, Vendor};
use crate::identity::derived_uid;
use dicom_core::VR;
use dicom_core::value::PrimitiveValue;
use dicom_dictionary_std::{tags, uids};

/// Length of the claimed acquisition, seconds; frames count it in milliseconds (PS3.3 C.7.6.16.2.2, C.8.13.2).
const DURATION_S: f64 = 180.0;
/// Claimed whole-body SAR (W/kg) and gradient output (dB/dt, % of the stimulation limit): far below any limit.
const SAR_W_PER_KG: f64 = 0.5;
const GRADIENT_OUTPUT_PERCENT: f64 = 50.0;

pub(super) fn object(dressed: &Dressing) -> Result<DressedObject, DressError> {
    let uid = dressed.series.instance_uid(1);
    let slices = dressed.planes.slices;
    let mut out = common(dressed);
    out.text(tags::SOP_CLASS_UID, uids::ENHANCED_MR_IMAGE_STORAGE)
        .text(tags::SOP_INSTANCE_UID, &uid)
        .whole(tags::INSTANCE_NUMBER, &[1])
        .text(tags::NUMBER_OF_FRAMES, slices.to_string())
        .sequence(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
    enhanced_image(&mut out, dressed);
    pulse_sequence(&mut out, dressed);
    dimensions(&mut out, dressed);
    image_pixel(&mut out, dressed);
    enhanced_counts(&mut out, dressed.recipe.vendor, slices);
    let mut shared = shared_groups(dressed);
    if dressed.recipe.vendor == Vendor::Siemens {
        let protocol = dressed.recipe.vendor.protocol(dressed.recipe.contrast);
        siemens_shared_group(&mut shared, &protocol, slices);
    }
    let frames = (0..slices).map(|slice| frame_groups(dressed, slice)).collect();
    out.sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared])
        .sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
    let pixels = PrimitiveValue::U8(dressed.pixels.bytes(0..slices).into());
    out.put(tags::PIXEL_DATA, VR::OW, pixels);
    file(out, uids::ENHANCED_MR_IMAGE_STORAGE, uid, 1)
}

/// Enhanced MR Image module (PS3.3 C.8.13.1).
fn enhanced_image(out: &mut Attributes, dressed: &Dressing) {
    out.text(tags::IMAGE_TYPE, image_type(dressed))
        .text(tags::ACQUISITION_DATE_TIME, DATE_TIME)
        .double(tags::ACQUISITION_DURATION, &[DURATION_S])
        .text(tags::RESONANT_NUCLEUS, "1H")
        .text(tags::K_SPACE_FILTERING, "NONE")
        .text(tags::APPLICABLE_SAFETY_STANDARD_AGENCY, "IEC")
        .text(tags::CONTENT_QUALIFICATION, "RESEARCH")
        .text(tags::BURNED_IN_ANNOTATION, "NO")
        .text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY");
    image_description(out, dressed);
}

/// MR Image Description macro (PS3.3 C.8.13.3): the same words at the root and in the frame type.
fn image_description(out: &mut Attributes, dressed: &Dressing) {
    let recipe = dressed.recipe;
    out.text(tags::PIXEL_PRESENTATION, "MONOCHROME")
        .text(tags::VOLUMETRIC_PROPERTIES, "VOLUME")
        .text(tags::VOLUME_BASED_CALCULATION_TECHNIQUE, "NONE")
        .text(tags::COMPLEX_IMAGE_COMPONENT, "MAGNITUDE")
        .text(tags::ACQUISITION_CONTRAST, recipe.vendor.acquisition_contrast(recipe.contrast));
}

/// MR Pulse Sequence module (PS3.3 C.8.13.4): a two-dimensional turbo spin echo.
fn pulse_sequence(out: &mut Attributes, dressed: &Dressing) {
    let protocol = dressed.recipe.vendor.protocol(dressed.recipe.contrast);
    out.text(tags::PULSE_SEQUENCE_NAME, protocol.sequence)
        .text(tags::ECHO_PULSE_SEQUENCE, "SPIN")
        .text(tags::MULTIPLE_SPIN_ECHO, "YES")
        .text(tags::MULTI_PLANAR_EXCITATION, "NO")
        .text(tags::PHASE_CONTRAST, "NO")
        .text(tags::TIME_OF_FLIGHT_CONTRAST, "NO")
        .text(tags::STEADY_STATE_PULSE_SEQUENCE, "NONE")
        .text(tags::ECHO_PLANAR_PULSE_SEQUENCE, "NO")
        .text(tags::SATURATION_RECOVERY, "NO")
        .text(tags::SPECTRALLY_SELECTED_SUPPRESSION, "NONE")
        .text(tags::OVERSAMPLING_PHASE, "NONE")
        .text(tags::GEOMETRY_OF_K_SPACE_TRAVERSAL, "RECTILINEAR")
        .text(tags::RECTILINEAR_PHASE_ENCODE_REORDERING, "LINEAR")
        .text(tags::SEGMENTED_K_SPACE_TRAVERSAL, "PARTIAL")
        .whole(tags::NUMBER_OF_K_SPACE_TRAJECTORIES, &[1]);
}

/// Multi-frame Dimension module (PS3.3 C.7.6.17): stack, then position in the stack.
fn dimensions(out: &mut Attributes, dressed: &Dressing) {
    let organization = derived_uid(&["dress", "dimensions", &dressed.series.series_uid]);
    let index = |pointer| {
        let mut item = Attributes::new();
        item.text(tags::DIMENSION_ORGANIZATION_UID, &organization)
            .pointer(tags::DIMENSION_INDEX_POINTER, pointer)
            .pointer(tags::FUNCTIONAL_GROUP_POINTER, tags::FRAME_CONTENT_SEQUENCE);
        item
    };
    out.item(tags::DIMENSION_ORGANIZATION_SEQUENCE, |item| {
        item.text(tags::DIMENSION_ORGANIZATION_UID, &organization);
    })
    .sequence(
        tags::DIMENSION_INDEX_SEQUENCE,
        vec![index(tags::STACK_ID), index(tags::IN_STACK_POSITION_NUMBER)],
    );
}

/// The functional groups that every vendor writes once (PS3.3 C.8.13.5).
fn shared_groups(dressed: &Dressing) -> Attributes {
    let protocol = dressed.recipe.vendor.protocol(dressed.recipe.contrast);
    let mut out = Attributes::new();
    timing(&mut out, dressed);
    modifiers(&mut out, protocol.inversion_time_ms);
    out.item(tags::MR_RECEIVE_COIL_SEQUENCE, |item| {
        item.text(tags::RECEIVE_COIL_NAME, "Spine")
            .text(tags::RECEIVE_COIL_MANUFACTURER_NAME, "")
            .text(tags::RECEIVE_COIL_TYPE, "SURFACE")
            .text(tags::QUADRATURE_RECEIVE_COIL, "NO");
    })
    .item(tags::MR_TRANSMIT_COIL_SEQUENCE, |item| {
        item.text(tags::TRANSMIT_COIL_NAME, "Body")
            .text(tags::TRANSMIT_COIL_MANUFACTURER_NAME, "")
            .text(tags::TRANSMIT_COIL_TYPE, "BODY");
    })
    .item(tags::FRAME_ANATOMY_SEQUENCE, |item| {
        item.text(tags::FRAME_LATERALITY, "U").item(tags::ANATOMIC_REGION_SEQUENCE, |region| {
            // PS3.16 CID 4031, common anatomic regions.
            region
                .text(tags::CODE_VALUE, "421060004")
                .text(tags::CODING_SCHEME_DESIGNATOR, "SCT")
                .text(tags::CODE_MEANING, "Spine");
        });
    });
    if !dressed.recipe.vendor.repeats_groups_per_frame() {
        repeated_groups(&mut out, dressed);
    }
    out
}

/// MR Timing and Related Parameters, MR FOV/Geometry, MR Averages (PS3.3 C.8.13.5.2, .3, .11).
fn timing(out: &mut Attributes, dressed: &Dressing) {
    let protocol = dressed.recipe.vendor.protocol(dressed.recipe.contrast);
    let (columns, rows) = (u32::from(dressed.planes.columns), u32::from(dressed.planes.rows));
    out.item(tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE, |item| {
        item.decimal(tags::REPETITION_TIME, &[protocol.repetition_time_ms])
            .decimal(tags::FLIP_ANGLE, &[protocol.flip_angle_degrees])
            .whole(tags::ECHO_TRAIN_LENGTH, &[protocol.echo_train])
            .whole(tags::RF_ECHO_TRAIN_LENGTH, &[protocol.echo_train])
            .whole(tags::GRADIENT_ECHO_TRAIN_LENGTH, &[0])
            .text(tags::GRADIENT_OUTPUT_TYPE, "DB_DT")
            .double(tags::GRADIENT_OUTPUT, &[GRADIENT_OUTPUT_PERCENT])
            .item(tags::SPECIFIC_ABSORPTION_RATE_SEQUENCE, |sar| {
                sar.text(tags::SPECIFIC_ABSORPTION_RATE_DEFINITION, "IEC_WHOLE_BODY")
                    .double(tags::SPECIFIC_ABSORPTION_RATE_VALUE, &[SAR_W_PER_KG]);
            })
            .sequence(
                tags::OPERATING_MODE_SEQUENCE,
                ["STATIC FIELD", "RF", "GRADIENT"].map(operating_mode).into(),
            );
    })
    .item(tags::MRFOV_GEOMETRY_SEQUENCE, |item| {
        item.text(tags::IN_PLANE_PHASE_ENCODING_DIRECTION, "COLUMN")
            .whole(tags::MR_ACQUISITION_FREQUENCY_ENCODING_STEPS, &[columns])
            .whole(tags::MR_ACQUISITION_PHASE_ENCODING_STEPS_IN_PLANE, &[rows])
            .decimal(tags::PERCENT_SAMPLING, &[100.0])
            .decimal(tags::PERCENT_PHASE_FIELD_OF_VIEW, &[100.0]);
    })
    .item(tags::MR_AVERAGES_SEQUENCE, |item| {
        item.decimal(tags::NUMBER_OF_AVERAGES, &[1.0]);
    });
}

fn operating_mode(kind: &str) -> Attributes {
    let mut item = Attributes::new();
    item.text(tags::OPERATING_MODE_TYPE, kind).text(tags::OPERATING_MODE, "IEC_NORMAL");
    item
}

/// MR Modifier and MR Imaging Modifier (PS3.3 C.8.13.5.5, .6).
fn modifiers(out: &mut Attributes, inversion_time_ms: Option<f64>) {
    out.item(tags::MR_MODIFIER_SEQUENCE, |item| {
        let inversion = if inversion_time_ms.is_some() { "YES" } else { "NO" };
        item.text(tags::INVERSION_RECOVERY, inversion)
            .text(tags::FLOW_COMPENSATION, "NONE")
            .text(tags::SPOILING, "NONE")
            .text(tags::T2_PREPARATION, "NO")
            .text(tags::SPECTRALLY_SELECTED_EXCITATION, "NONE")
            .text(tags::SPATIAL_PRESATURATION, "NONE")
            .text(tags::PARTIAL_FOURIER, "NO")
            .text(tags::PARALLEL_ACQUISITION, "NO");
        if let Some(time) = inversion_time_ms {
            item.double(tags::INVERSION_TIMES, &[time]);
        }
    })
    .item(tags::MR_IMAGING_MODIFIER_SEQUENCE, |item| {
        item.text(tags::MAGNETIZATION_TRANSFER, "NONE")
            .text(tags::BLOOD_SIGNAL_NULLING, "NO")
            .text(tags::TAGGING, "NONE")
            .double(tags::TRANSMITTER_FREQUENCY, &[FREQUENCY_MHZ])
            .decimal(tags::PIXEL_BANDWIDTH, &[PIXEL_BANDWIDTH_HZ]);
    });
}

/// The groups that some vendors repeat in every frame and others share: echo, frame type, orientation, spacing, window
/// and value transformation.
fn repeated_groups(out: &mut Attributes, dressed: &Dressing) {
    let (planes, pixels) = (dressed.planes, dressed.pixels);
    let protocol = dressed.recipe.vendor.protocol(dressed.recipe.contrast);
    out.item(tags::MR_ECHO_SEQUENCE, |item| {
        item.double(tags::EFFECTIVE_ECHO_TIME, &[protocol.echo_time_ms]);
    })
    .item(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, |item| {
        item.text(tags::FRAME_TYPE, image_type(dressed));
        image_description(item, dressed);
    })
    .item(tags::PLANE_ORIENTATION_SEQUENCE, |item| {
        item.decimal(tags::IMAGE_ORIENTATION_PATIENT, &planes.orientation_values());
    })
    .item(tags::PIXEL_MEASURES_SEQUENCE, |item| {
        item.decimal(tags::SLICE_THICKNESS, &[planes.spacing[2]])
            .decimal(tags::SPACING_BETWEEN_SLICES, &[planes.spacing[2]])
            .decimal(tags::PIXEL_SPACING, &planes.pixel_spacing());
    })
    .item(tags::FRAME_VOILUT_SEQUENCE, |item| {
        let [center, width] = pixels.window;
        item.intensity(tags::WINDOW_CENTER, &[center]).intensity(tags::WINDOW_WIDTH, &[width]);
    })
    .item(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, |item| {
        item.intensity(tags::RESCALE_INTERCEPT, &[pixels.rescale.intercept])
            .intensity(tags::RESCALE_SLOPE, &[pixels.rescale.slope])
            .text(tags::RESCALE_TYPE, "US");
    });
}

/// The functional groups of one frame.
fn frame_groups(dressed: &Dressing, slice: u16) -> Attributes {
    let number = u32::from(slice) + 1;
    let mut out = Attributes::new();
    out.item(tags::FRAME_CONTENT_SEQUENCE, |item| {
        item.text(tags::FRAME_ACQUISITION_DATE_TIME, DATE_TIME)
            .text(tags::FRAME_REFERENCE_DATE_TIME, DATE_TIME)
            .double(tags::FRAME_ACQUISITION_DURATION, &[DURATION_S * 1000.0])
            .whole(tags::FRAME_ACQUISITION_NUMBER, &[1])
            .text(tags::STACK_ID, "1")
            .whole(tags::IN_STACK_POSITION_NUMBER, &[number])
            .whole(tags::DIMENSION_INDEX_VALUES, &[1, number]);
    })
    .item(tags::PLANE_POSITION_SEQUENCE, |item| {
        item.decimal(tags::IMAGE_POSITION_PATIENT, &dressed.planes.position(slice));
    });
    if dressed.recipe.vendor.repeats_groups_per_frame() {
        repeated_groups(&mut out, dressed);
    }
    out
}

/// Image type and frame type (PS3.3 C.8.13.3.1.1): value 3 names the contrast.
fn image_type(dressed: &Dressing) -> String {
    format!("ORIGINAL\\PRIMARY\\{}\\NONE", dressed.recipe.contrast.term())
}
