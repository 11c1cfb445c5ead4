//! The coded meaning and display colour of every label: structures, vertebral levels, discs.
//!
//! SNOMED CT codes as in PS3.16 (CID 7150, 7151, 6115, 8134, 7602) where it has them. `3572006`
//! Vertebral body is from the TotalSegmentator table, `360499006` Intervertebral disc from dcmqi's.
//! The endplate has no public code: private scheme 99SPINE.

use super::element::Code;
use pipeline::penn::Compartment;
use pipeline::{Structure, VertebraId};

/// Category of every segment (PS3.16 CID 7150).
pub(super) const ANATOMICAL_STRUCTURE: Code = Code::sct("91723000", "Anatomical Structure");
/// Category of what is not as it should be (PS3.16 CID 7150).
pub(super) const ALTERED_STRUCTURE: Code =
    Code::sct("49755003", "Morphologically Altered Structure");
/// What the patch net takes for one (PS3.16 CID 7159): no word of what kind.
pub(super) const LESION: Code = Code::sct("52988006", "Lesion");
/// Red, which no structure has.
pub(super) const LESION_COLOUR: [u8; 3] = [255, 0, 0];
/// Algorithm family (PS3.16 CID 7162).
pub(super) const ARTIFICIAL_INTELLIGENCE: Code = Code::dcm("123110", "Artificial Intelligence");
/// How the masks were derived (PS3.16 CID 7203).
pub(super) const SEGMENTATION: Code = Code::dcm("113076", "Segmentation");
/// Why a source image is referenced (PS3.16 CID 7202).
pub(super) const SOURCE_IMAGE: Code =
    Code::dcm("121322", "Source image for image processing operation");
/// Equipment roles (PS3.16 CID 7005).
pub(super) const ACQUISITION_EQUIPMENT: Code = Code::dcm("109101", "Acquisition Equipment");
pub(super) const PROCESSING_EQUIPMENT: Code = Code::dcm("109102", "Processing Equipment");

/// The spine as a whole (PS3.16 CID 4).
pub(super) const SPINE: Code = Code::sct("421060004", "Spine");

const LEFT: Code = Code::sct("7771000", "Left");
const RIGHT: Code = Code::sct("24028007", "Right");
const VERTEBRA: Code = Code::sct("51282000", "Vertebra");
const DISC: Code = Code::sct("360499006", "Intervertebral disc");
const SACRUM: Code = Code::sct("54735007", "Sacrum");

/// What a segment is: its code, the side where it has one, its display colour (sRGB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    pub code: Code,
    pub side: Option<Code>,
    pub colour: [u8; 3],
}

/// The code and colour of a structure of the semantic mask.
pub fn structure(structure: Structure) -> Property {
    let (code, side) = match structure {
        Structure::Sacrum => (SACRUM, None),
        Structure::VertebralArch => (Code::sct("40265002", "Arch of vertebra"), None),
        Structure::SpinousProcess => (Code::sct("55678000", "Spinous process of vertebra"), None),
        Structure::TransverseProcessLeft => (TRANSVERSE, Some(LEFT)),
        Structure::TransverseProcessRight => (TRANSVERSE, Some(RIGHT)),
        Structure::SuperiorArticularLeft => (SUPERIOR, Some(LEFT)),
        Structure::SuperiorArticularRight => (SUPERIOR, Some(RIGHT)),
        Structure::InferiorArticularLeft => (INFERIOR, Some(LEFT)),
        Structure::InferiorArticularRight => (INFERIOR, Some(RIGHT)),
        Structure::VertebralBody => (Code::sct("3572006", "Vertebral body"), None),
        Structure::SpinalCord => (Code::sct("2748008", "Spinal cord"), None),
        Structure::SpinalCanal => (Code::sct("61853006", "Vertebral canal"), None),
        Structure::Endplate => {
            (Code { value: "ENDPLATE", scheme: "99SPINE", meaning: "Vertebral endplate" }, None)
        }
        Structure::Disc => (DISC, None),
    };
    Property { code, side, colour: structure.colour() }
}

/// Where most of a lesion lies; `None` outside of all structures.
pub(super) fn compartment(compartment: Compartment) -> Option<Code> {
    let of = match compartment {
        Compartment::VertebralBody => Structure::VertebralBody,
        Compartment::PosteriorElements => Structure::VertebralArch,
        Compartment::Sacrum => Structure::Sacrum,
        Compartment::Disc => Structure::Disc,
        Compartment::Canal => Structure::SpinalCanal,
        Compartment::Cord => Structure::SpinalCord,
        Compartment::Outside => return None,
    };
    Some(structure(of).code)
}

const TRANSVERSE: Code = Code::sct("73400003", "Transverse process of vertebra");
const SUPERIOR: Code = Code::sct("317665004", "Superior articular process of vertebra");
const INFERIOR: Code = Code::sct("317766009", "Inferior articular process of vertebra");

/// Level codes by vertebra and of the disc below it. C1 and C2 have no disc code: C1 has no disc,
/// PS3.16 codes none for C2/C3.
const LEVELS: [(u8, Code, Option<Code>); 24] = [
    (1, Code::sct("14806007", "C1 vertebra"), None),
    (2, Code::sct("39976000", "C2 vertebra"), None),
    (3, Code::sct("113205007", "C3 vertebra"), disc("58820006", "C3/C4 disc")),
    (4, Code::sct("5329002", "C4 vertebra"), disc("49400002", "C4/C5 disc")),
    (5, Code::sct("36978003", "C5 vertebra"), disc("73959003", "C5/C6 disc")),
    (6, Code::sct("36054005", "C6 vertebra"), disc("75095006", "C6/C7 disc")),
    (7, Code::sct("87391001", "C7 vertebra"), disc("37414007", "C7/T1 disc")),
    (8, Code::sct("64864005", "T1 vertebra"), disc("40908007", "T1/T2 disc")),
    (9, Code::sct("53733008", "T2 vertebra"), disc("6004007", "T2/T3 disc")),
    (10, Code::sct("1626008", "T3 vertebra"), disc("2620004", "T3/T4 disc")),
    (11, Code::sct("73071006", "T4 vertebra"), disc("82965004", "T4/T5 disc")),
    (12, Code::sct("56401006", "T5 vertebra"), disc("72692000", "T5/T6 disc")),
    (13, Code::sct("45296009", "T6 vertebra"), disc("74401007", "T6/T7 disc")),
    (14, Code::sct("62487009", "T7 vertebra"), disc("28693002", "T7/T8 disc")),
    (15, Code::sct("11068009", "T8 vertebra"), disc("9188009", "T8/T9 disc")),
    (16, Code::sct("82687006", "T9 vertebra"), disc("113209001", "T9/T10 disc")),
    (17, Code::sct("7610001", "T10 vertebra"), disc("34959001", "T10/T11 disc")),
    (18, Code::sct("12989004", "T11 vertebra"), disc("1537001", "T11/T12 disc")),
    (19, Code::sct("23215003", "T12 vertebra"), disc("76206002", "T12/L1 disc")),
    (20, Code::sct("66794005", "L1 vertebra"), disc("80064006", "L1/L2 disc")),
    (21, Code::sct("14293000", "L2 vertebra"), disc("67459009", "L2/L3 disc")),
    (22, Code::sct("36470004", "L3 vertebra"), disc("62551000", "L3/L4 disc")),
    (23, Code::sct("11994002", "L4 vertebra"), disc("84020006", "L4/L5 disc")),
    (24, Code::sct("49668003", "L5 vertebra"), disc("75782005", "L5/S1 disc")),
];

const fn disc(value: &'static str, meaning: &'static str) -> Option<Code> {
    Some(Code::sct(value, meaning))
}

/// The code of a vertebra: of its level, or `51282000` Vertebra where the level is not verified or
/// has no code (L6, T13).
pub fn vertebra(id: VertebraId, verified: bool) -> Code {
    match LEVELS.iter().find(|(level, ..)| verified && *level == id.value()) {
        Some((_, code, _)) => *code,
        None if id == VertebraId::SACRUM => SACRUM,
        None => VERTEBRA,
    }
}

/// The code of the disc below a vertebra; `360499006` Intervertebral disc where the level is not
/// verified or has no code.
pub fn disc_below(id: VertebraId, verified: bool) -> Code {
    LEVELS
        .iter()
        .find(|(level, ..)| verified && *level == id.value())
        .and_then(|(_, _, disc)| *disc)
        .unwrap_or(DISC)
}

/// Colours of neighbouring vertebrae, sRGB: Okabe and Ito's palette (2008) without black, which all
/// forms of colour vision tell apart.
const LEVEL_COLOURS: [[u8; 3]; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];

/// The display colour of a vertebra in the instance mask; neighbours differ.
pub fn level_colour(id: VertebraId) -> [u8; 3] {
    match id {
        VertebraId::SACRUM => Structure::Sacrum.colour(),
        id => LEVEL_COLOURS[usize::from(id.value()) % LEVEL_COLOURS.len()],
    }
}

/// sRGB -> CIELab under D50 as Recommended Display CIELab Value wants it (PS3.3 C.10.7.1.1): `L* /
/// 100`, `(a* + 128) / 255` and `(b* + 128) / 255`, each times 65535.
pub fn cielab(colour: [u8; 3]) -> [u16; 3] {
    /// Linear sRGB -> XYZ, Bradford-adapted to D50 (IEC 61966-2-1 with ICC.1 annex E).
    const TO_XYZ: [[f64; 3]; 3] = [
        [0.436_074_7, 0.385_064_9, 0.143_080_4],
        [0.222_504_5, 0.716_878_6, 0.060_616_9],
        [0.013_932_2, 0.097_104_5, 0.714_173_3],
    ];
    /// The D50 white of the ICC profile connection space.
    const WHITE: [f64; 3] = [0.964_22, 1.0, 0.825_21];
    let linear = colour.map(|v| match f64::from(v) / 255.0 {
        v if v <= 0.040_45 => v / 12.92,
        v => ((v + 0.055) / 1.055).powf(2.4),
    });
    let [x, y, z]: [f64; 3] = std::array::from_fn(|row| {
        let sum: f64 = (0..3).map(|channel| TO_XYZ[row][channel] * linear[channel]).sum();
        let t = sum / WHITE[row];
        // CIE 15: cube root above (6/29)^3, its tangent below.
        if t > 216.0 / 24_389.0 { t.cbrt() } else { t * 841.0 / 108.0 + 4.0 / 29.0 }
    });
    let scaled = |value: f64, range: f64| (value / range * 65_535.0).round() as u16;
    [
        scaled(116.0 * y - 16.0, 100.0),
        scaled(500.0 * (x - y) + 128.0, 255.0),
        scaled(200.0 * (y - z) + 128.0, 255.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cielab_agrees_with_the_table_of_the_design() {
        let table = [
            ([100, 216, 54], [50758, 18827, 49318]),
            ([238, 130, 98], [43477, 43259, 42291]),
            ([0, 100, 200], [27663, 34591, 17493]),
            ([244, 214, 49], [56535, 32732, 52789]),
            ([255, 255, 255], [65535, 32896, 32896]),
        ];
        for (rgb, want) in table {
            let got = cielab(rgb);
            let near = got.iter().zip(want).all(|(&g, w): (&u16, u16)| g.abs_diff(w) <= 40);
            assert!(near, "{rgb:?}: {got:?} instead of {want:?}");
        }
    }

    #[test]
    fn every_structure_has_its_own_code_and_side() {
        let properties = Structure::ALL.map(structure);
        for (n, a) in properties.iter().enumerate() {
            assert!(properties[..n].iter().all(|b| (a.code, a.side) != (b.code, b.side)));
        }
    }

    #[test]
    fn unverified_levels_and_variants_get_the_general_code() {
        let id = |v| VertebraId::new(v).unwrap();
        assert_eq!(vertebra(VertebraId::L5, true).meaning, "L5 vertebra");
        assert_eq!(vertebra(VertebraId::L5, false), VERTEBRA);
        assert_eq!(vertebra(id(25), true), VERTEBRA);
        assert_eq!(vertebra(id(28), true), VERTEBRA);
        assert_eq!(vertebra(VertebraId::SACRUM, false), SACRUM);
        assert_eq!(disc_below(id(23), true).value, "84020006");
        assert_eq!(disc_below(id(23), false), DISC);
        assert_eq!(disc_below(id(2), true), DISC);
        assert!((2..=25).all(|v| level_colour(id(v)) != level_colour(id(v + 1))));
    }
}
