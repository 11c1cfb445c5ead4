//! What the header of one frame tells about how the image was made, whoever wrote it.

use super::geometry::{FrameView, integer, text, words};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// What [`super::gate`], [`super::contrast`] and [`super::parts`] judge by. Free text in it is never shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// Image Type of the object and the frame type of the frame, upper case.
    pub(super) image_type: Vec<String>,
    pub(super) spin_echo: bool,
    pub(super) gradient_echo: bool,
    pub(super) echo_planar: bool,
    pub(super) diffusion: bool,
    pub(super) time_points: i64,
    /// Of this frame, where an object tells it.
    pub(super) time_point: Option<f64>,
    /// `MAGNITUDE`, or empty where not given.
    pub(super) component: String,
    pub(super) three_dimensional: bool,
    /// ms
    pub(super) echo: Option<f64>,
    pub(super) repetition: Option<f64>,
    pub(super) inversion: Option<f64>,
    pub(super) agent: Agent,
    /// Sequence, protocol and series names, upper case.
    pub(super) names: String,
}

/// What the header says of a contrast agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Agent {
    /// An agent is named. Siemens XA and Philips write the attribute, empty, for images without one.
    pub(super) named: bool,
    /// A volume or a time of injection.
    pub(super) injected: bool,
}

impl Facts {
    pub(super) fn of(header: &InMemDicomObject, view: FrameView<'_>) -> Facts {
        let scanning = words(header, tags::SCANNING_SEQUENCE);
        let has = |word: &str| scanning.iter().any(|value| value == word);
        let pulse = text(header, tags::ECHO_PULSE_SEQUENCE);
        let diffusion = view.group(tags::MR_DIFFUSION_SEQUENCE);
        let weighting = header.get(tags::DIFFUSION_B_VALUE).and_then(|e| e.to_float64().ok());
        let frame_type = view.group(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE);
        let component = match text(header, tags::COMPLEX_IMAGE_COMPONENT) {
            empty if empty.is_empty() => frame_type
                .map(|group| text(group, tags::COMPLEX_IMAGE_COMPONENT))
                .unwrap_or_default(),
            named => named,
        };
        let mut image_type = words(header, tags::IMAGE_TYPE);
        image_type.extend(frame_type.map(|g| words(g, tags::FRAME_TYPE)).unwrap_or_default());
        let number = |group, tag| view.number(group, tag);
        let modifier = tags::MR_MODIFIER_SEQUENCE;
        Facts {
            image_type,
            spin_echo: has("SE") || pulse == "SPIN" || pulse == "BOTH",
            gradient_echo: has("GR") || pulse == "GRADIENT",
            echo_planar: has("EP") || text(header, tags::ECHO_PLANAR_PULSE_SEQUENCE) == "YES",
            diffusion: diffusion.is_some() || weighting.is_some_and(|b| b > 0.0),
            time_points: integer(header, tags::NUMBER_OF_TEMPORAL_POSITIONS).unwrap_or(1),
            time_point: number(tags::FRAME_CONTENT_SEQUENCE, tags::TEMPORAL_POSITION_INDEX),
            component,
            three_dimensional: text(header, tags::MR_ACQUISITION_TYPE) == "3D",
            echo: number(tags::MR_ECHO_SEQUENCE, tags::EFFECTIVE_ECHO_TIME)
                .or_else(|| number(tags::MR_ECHO_SEQUENCE, tags::ECHO_TIME)),
            repetition: number(
                tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE,
                tags::REPETITION_TIME,
            ),
            inversion: number(modifier, tags::INVERSION_TIMES)
                .or_else(|| number(modifier, tags::INVERSION_TIME))
                .filter(|&ms| ms > 0.0),
            agent: agent(header),
            names: names(header),
        }
    }

    pub(super) fn says(&self, word: &str) -> bool {
        self.image_type.iter().any(|value| value == word)
    }
}

fn names(header: &InMemDicomObject) -> String {
    let named = [
        tags::SEQUENCE_NAME,
        tags::PULSE_SEQUENCE_NAME,
        tags::PROTOCOL_NAME,
        tags::SERIES_DESCRIPTION,
    ];
    named.map(|tag| text(header, tag).to_ascii_uppercase()).join(" ")
}

/// Words that consoles write for "no agent".
const NO_AGENT: [&str; 4] = ["NO", "NONE", "0", "WITHOUT"];

fn agent(header: &InMemDicomObject) -> Agent {
    let told = text(header, tags::CONTRAST_BOLUS_AGENT).to_ascii_uppercase();
    let items = header.get(tags::CONTRAST_BOLUS_AGENT_SEQUENCE).and_then(|e| e.items());
    let number = |tag| header.get(tag).and_then(|e| e.to_float64().ok()).unwrap_or(0.0);
    Agent {
        named: !told.is_empty() && !NO_AGENT.contains(&told.as_str())
            || items.is_some_and(|items| !items.is_empty()),
        injected: number(tags::CONTRAST_BOLUS_VOLUME) > 0.0
            || !text(header, tags::CONTRAST_BOLUS_START_TIME).is_empty(),
    }
}

/// A plain 2-D spin echo, T2 weighted.
#[cfg(test)]
pub(super) fn spin_echo() -> Facts {
    Facts {
        image_type: ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"].map(str::to_owned).to_vec(),
        spin_echo: true,
        gradient_echo: false,
        echo_planar: false,
        diffusion: false,
        time_points: 1,
        time_point: None,
        component: String::new(),
        three_dimensional: false,
        echo: Some(100.0),
        repetition: Some(3500.0),
        inversion: None,
        agent: Agent::default(),
        names: String::new(),
    }
}
