//! What the consoles of the three vendors write differently: names, sequence terms, private count tags, and where
//! Enhanced MR keeps its functional groups. Patterns taken from real headers; no identity is.

use super::attributes::Attributes;
use super::{Contrast, Form, Vendor, csa};
use dicom_core::dicom_value;
use dicom_core::value::PrimitiveValue;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

/// Protocol version in the ASCCONV text of syngo MR E11 and XA30.
const SYNGO_E11: u32 = 51_130_001;
const SYNGO_XA30: u32 = 63_010_001;

/// The equipment a series claims to come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Equipment {
    pub(super) manufacturer: &'static str,
    pub(super) model: &'static str,
    pub(super) software: &'static str,
    pub(super) station: &'static str,
}

/// The protocol a series claims to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Protocol {
    /// Series description and protocol name.
    pub(super) name: &'static str,
    /// The vendor's name of the pulse sequence.
    pub(super) sequence: &'static str,
    pub(super) echo_time_ms: f64,
    pub(super) repetition_time_ms: f64,
    /// Present for an inversion recovery.
    pub(super) inversion_time_ms: Option<f64>,
    pub(super) echo_train: u32,
    pub(super) flip_angle_degrees: f64,
}

/// Terms of the classic MR Image module (PS3.3 C.8.3.1) as each vendor fills them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClassicTerms {
    pub(super) image_type: &'static str,
    pub(super) scanning_sequence: &'static str,
    pub(super) sequence_variant: &'static str,
    pub(super) scan_options: &'static str,
}

impl Vendor {
    pub(super) fn equipment(self, form: Form) -> Equipment {
        match (self, form) {
            (Vendor::Siemens, Form::Classic) => Equipment {
                manufacturer: "SIEMENS",
                model: "Aera",
                software: "syngo MR E11",
                station: "PHANTOM1",
            },
            (Vendor::Siemens, Form::Enhanced) => Equipment {
                manufacturer: "Siemens Healthineers",
                model: "MAGNETOM Sola",
                software: "syngo MR XA30",
                station: "PHANTOM2",
            },
            (Vendor::Philips, _) => Equipment {
                manufacturer: "Philips",
                model: "Ingenia",
                software: "5.7.1\\5.7.1.1",
                station: "PHANTOM3",
            },
            (Vendor::Ge, _) => Equipment {
                manufacturer: "GE MEDICAL SYSTEMS",
                model: "SIGNA Artist",
                software: "28\\LX\\MR Software release:RX28.0",
                station: "PHANTOM4",
            },
        }
    }

    /// Spin-echo protocols of everyday spine work; the numbers lie inside the contrast rules of the receiver (T2: TE >=
    /// 60 and TR >= 1500; T1: TE <= 35 and TR <= 1300; STIR: TI 80-260 and TE >= 20; all ms).
    pub(super) fn protocol(self, contrast: Contrast) -> Protocol {
        let (name, sequence) = self.protocol_names(contrast);
        let spin_echo = Protocol {
            name,
            sequence,
            echo_time_ms: 100.0,
            repetition_time_ms: 3500.0,
            inversion_time_ms: None,
            echo_train: 16,
            flip_angle_degrees: 150.0,
        };
        match contrast {
            Contrast::T2 => spin_echo,
            Contrast::T1 => Protocol {
                echo_time_ms: 10.0,
                repetition_time_ms: 550.0,
                echo_train: 3,
                ..spin_echo
            },
            Contrast::Stir => Protocol {
                echo_time_ms: 60.0,
                repetition_time_ms: 4000.0,
                inversion_time_ms: Some(150.0),
                ..spin_echo
            },
        }
    }

    fn protocol_names(self, contrast: Contrast) -> (&'static str, &'static str) {
        match (self, contrast) {
            (Vendor::Siemens, Contrast::T1) => ("t1_tse_sag", "*tse2d1_3"),
            (Vendor::Siemens, Contrast::T2) => ("t2_tse_sag", "*tseR2d1_16"),
            (Vendor::Siemens, Contrast::Stir) => ("t2_tirm_sag", "*tir2d1_16"),
            (Vendor::Philips, Contrast::T1) => ("T1W_TSE SAG", "TSE"),
            (Vendor::Philips, Contrast::T2) => ("T2W_TSE SAG", "TSE"),
            (Vendor::Philips, Contrast::Stir) => ("STIR_TSE SAG", "TIR"),
            (Vendor::Ge, Contrast::T1) => ("Sag T1 FSE", "fse"),
            (Vendor::Ge, Contrast::T2) => ("Sag T2 FRFSE", "frfse"),
            (Vendor::Ge, Contrast::Stir) => ("Sag STIR", "fseir"),
        }
    }

    pub(super) fn classic_terms(self, contrast: Contrast) -> ClassicTerms {
        let inversion = contrast == Contrast::Stir;
        let scanning_sequence = if inversion { "SE\\IR" } else { "SE" };
        match self {
            Vendor::Siemens => ClassicTerms {
                image_type: "ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D",
                scanning_sequence,
                sequence_variant: "SK\\SP\\OSP",
                scan_options: "PFP",
            },
            Vendor::Philips => ClassicTerms {
                image_type: if inversion {
                    "ORIGINAL\\PRIMARY\\M_IR\\M\\IR"
                } else {
                    "ORIGINAL\\PRIMARY\\M_SE\\M\\SE"
                },
                scanning_sequence,
                sequence_variant: "SK",
                scan_options: "OTHER",
            },
            Vendor::Ge => ClassicTerms {
                image_type: "ORIGINAL\\PRIMARY\\OTHER",
                scanning_sequence,
                sequence_variant: "SK",
                scan_options: "FAST_GEMS\\NPW\\TRF_GEMS\\FILTERED_GEMS",
            },
        }
    }

    /// Whether Enhanced MR keeps echo, frame type, orientation, spacing and window in each frame, as Siemens XA and
    /// Philips do, or once for all.
    pub(super) fn repeats_groups_per_frame(self) -> bool {
        self != Vendor::Ge
    }

    /// Acquisition Contrast (0008,9209): Siemens XA writes UNKNOWN whatever it measured.
    pub(super) fn acquisition_contrast(self, contrast: Contrast) -> &'static str {
        match self {
            Vendor::Siemens => "UNKNOWN",
            _ => contrast.term(),
        }
    }
}

impl Contrast {
    /// The term of PS3.3 C.8.13.3.1 (image type value 3, acquisition contrast).
    pub(super) fn term(self) -> &'static str {
        match self {
            Contrast::T1 => "T1",
            Contrast::T2 => "T2",
            Contrast::Stir => "STIR",
        }
    }
}

/// The private count tags of a classic object: how a receiver learns that a series has `slices` images.
pub(super) fn classic_counts(
    out: &mut Attributes,
    vendor: Vendor,
    protocol: &Protocol,
    slices: u16,
    slice: u16,
) {
    match vendor {
        Vendor::Siemens => {
            let text = csa::protocol(slices, protocol.name, SYNGO_E11);
            let header = csa::series_header(&text);
            out.put(Tag(0x0029, 0x0010), VR::LO, "SIEMENS CSA HEADER".into())
                .put(Tag(0x0029, 0x1018), VR::CS, "MR".into())
                .put(Tag(0x0029, 0x1019), VR::LO, "20250101".into())
                .put(Tag(0x0029, 0x1020), VR::OB, PrimitiveValue::U8(header.into()));
        }
        Vendor::Philips => {
            philips_counts(out, slices);
            out.put(Tag(0x2001, 0x100a), VR::IS, (slice + 1).to_string().into());
        }
        Vendor::Ge => ge_counts(out, slices),
    }
}

/// The same for the one Enhanced object, at its root (Philips, GE).
pub(super) fn enhanced_counts(out: &mut Attributes, vendor: Vendor, slices: u16) {
    match vendor {
        Vendor::Siemens => {}
        Vendor::Philips => philips_counts(out, slices),
        Vendor::Ge => ge_counts(out, slices),
    }
}

/// The private functional group of Siemens XA (shared item): the protocol text without a CSA container.
pub(super) fn siemens_shared_group(out: &mut Attributes, protocol: &Protocol, slices: u16) {
    let mut text = csa::protocol(slices, protocol.name, SYNGO_XA30).into_bytes();
    text.resize(text.len().next_multiple_of(2), b'\n');
    let creator = || PrimitiveValue::from("SIEMENS MR SDS 01");
    out.put(Tag(0x0021, 0x0010), VR::LO, creator());
    out.item(Tag(0x0021, 0x10fe), |item| {
        item.put(Tag(0x0021, 0x0010), VR::LO, creator()).put(
            Tag(0x0021, 0x1019),
            VR::OB,
            PrimitiveValue::U8(text.into()),
        );
    });
}

/// Philips: slices x echoes x phases (one of each of the last two).
fn philips_counts(out: &mut Attributes, slices: u16) {
    out.put(Tag(0x2001, 0x0010), VR::LO, "Philips Imaging DD 001".into())
        .put(Tag(0x2001, 0x1012), VR::CS, "N".into())
        .put(Tag(0x2001, 0x1014), VR::SL, dicom_value!(I32, 1))
        .put(Tag(0x2001, 0x1017), VR::SL, dicom_value!(I32, 1))
        .put(Tag(0x2001, 0x1018), VR::SL, dicom_value!(I32, i32::from(slices)));
}

/// GE: images in series and last image number; locations in the acquisition.
fn ge_counts(out: &mut Attributes, slices: u16) {
    let locations = i16::try_from(slices).expect("geometry admits at most 9999 slices");
    out.put(Tag(0x0021, 0x0010), VR::LO, "GEMS_RELA_01".into())
        .put(Tag(0x0021, 0x104f), VR::SS, dicom_value!(I16, locations))
        .put(Tag(0x0025, 0x0010), VR::LO, "GEMS_SERS_01".into())
        .put(Tag(0x0025, 0x1007), VR::SL, dicom_value!(I32, i32::from(slices)))
        .put(Tag(0x0025, 0x1019), VR::SL, dicom_value!(I32, i32::from(slices)));
}

/// What a classic series says of its stack besides: GE and Philips number images and time points, Siemens does not.
pub(super) fn classic_numbers(out: &mut Attributes, vendor: Vendor, slices: u16, slice: u16) {
    match vendor {
        Vendor::Siemens => {}
        Vendor::Philips => {
            out.whole(tags::TEMPORAL_POSITION_IDENTIFIER, &[1])
                .whole(tags::NUMBER_OF_TEMPORAL_POSITIONS, &[1]);
        }
        Vendor::Ge => {
            out.whole(tags::IMAGES_IN_ACQUISITION, &[slices.into()])
                .text(tags::STACK_ID, "1")
                .whole(tags::IN_STACK_POSITION_NUMBER, &[u32::from(slice) + 1]);
        }
    }
}
