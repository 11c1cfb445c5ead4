//! What a series is taken as: its contrast class, how sure that is, and why; and the site's own table, which always wins
//! (scanner-side section 5, rule 6).

mod site;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use site::Take;
pub use site::{Rule, Settings};

/// The contrast class of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    T1,
    /// With a contrast agent: 2-D or 3-D.
    T1Gd,
    #[serde(rename = "t1_3d")]
    T1ThreeD,
    T2,
    #[serde(rename = "t2_3d")]
    T2ThreeD,
    Stir,
    /// The header tells no weighting of these.
    Unknown,
}

impl Class {
    pub const ALL: [Class; 7] = [
        Class::T1,
        Class::T1Gd,
        Class::T1ThreeD,
        Class::T2,
        Class::T2ThreeD,
        Class::Stir,
        Class::Unknown,
    ];

    /// The word in messages, reports and the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Class::T1 => "t1",
            Class::T1Gd => "t1_gd",
            Class::T1ThreeD => "t1_3d",
            Class::T2 => "t2",
            Class::T2ThreeD => "t2_3d",
            Class::Stir => "stir",
            Class::Unknown => "unknown",
        }
    }

    pub(crate) fn is_t1(self) -> bool {
        matches!(self, Class::T1 | Class::T1ThreeD | Class::T1Gd)
    }
}

/// How far a class can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Something speaks against it, or too little for it: the reasons say what.
    Low,
    High,
}

/// What a class, or the choice among the images of a series, rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Echo, repetition and inversion time.
    Timing,
    /// A 3-D gradient echo, known by the name of its sequence.
    SequenceName,
    /// The names of series and protocol alone; the timing tells nothing.
    NamesOnly,
    /// The timing is within a tenth of a limit between two classes.
    NearLimit,
    /// The names of series and protocol say another class.
    NamesDisagree,
    /// The header names a contrast agent.
    AgentNamed,
    /// At least two hints of a contrast agent.
    AgentHinted,
    /// One hint of a contrast agent, which is too little.
    AgentDoubtful,
    /// Of several echoes, the one nearest to a class.
    EchoChosen,
    /// Of a Dixon acquisition, the image that the site takes.
    DixonChosen,
    /// Of two forms of each image, the one corrected for distortion or for the coils.
    CorrectedChosen,
    /// Of magnitude, phase, real and imaginary parts, the magnitude.
    MagnitudeChosen,
    /// The site's table names the class.
    SiteTable,
}

impl Reason {
    pub const ALL: [Reason; 13] = [
        Reason::Timing,
        Reason::SequenceName,
        Reason::NamesOnly,
        Reason::NearLimit,
        Reason::NamesDisagree,
        Reason::AgentNamed,
        Reason::AgentHinted,
        Reason::AgentDoubtful,
        Reason::EchoChosen,
        Reason::DixonChosen,
        Reason::CorrectedChosen,
        Reason::MagnitudeChosen,
        Reason::SiteTable,
    ];
}

/// What a series was taken as. Reports have its fields beside others: their names say whose they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selection {
    pub class: Class,
    #[serde(rename = "class_confidence")]
    pub confidence: Confidence,
    #[serde(rename = "class_reasons")]
    pub reasons: Vec<Reason>,
    /// The row of the site's table that decided, and the version of the table; `None` where no row fits.
    #[serde(rename = "class_rule")]
    pub rule: Option<String>,
}

impl Selection {
    pub(super) fn new(class: Class, reasons: Vec<Reason>) -> Selection {
        let doubtful = |reason: &Reason| {
            matches!(reason, Reason::NamesOnly | Reason::NearLimit | Reason::NamesDisagree)
        };
        let low = class == Class::Unknown || reasons.iter().any(doubtful);
        let confidence = if low { Confidence::Low } else { Confidence::High };
        Selection { class, confidence, reasons, rule: None }
    }

    /// Of a series whose header tells nothing.
    pub fn unknown() -> Selection {
        Selection::new(Class::Unknown, Vec::new())
    }

    /// One that a person made.
    pub(super) fn by_site(class: Class, row: String) -> Selection {
        Selection { rule: Some(row), ..Selection::new(class, vec![Reason::SiteTable]) }
    }

    /// The same with an agent that the header names.
    pub(super) fn with_agent(mut self) -> Selection {
        self.class = Class::T1Gd;
        self.reasons.push(Reason::AgentNamed);
        self
    }

    /// One more hint of a contrast agent: two are believed (scanner-side section 5, rule 5). Nothing changes for what is no
    /// T1, or for what a person or the header has told.
    pub fn hint_at_agent(&mut self) {
        if self.class == Class::T1Gd || !self.class.is_t1() || self.rule.is_some() {
            return;
        }
        match self.reasons.iter().position(|&reason| reason == Reason::AgentDoubtful) {
            None => self.reasons.push(Reason::AgentDoubtful),
            Some(first) => {
                self.reasons[first] = Reason::AgentHinted;
                self.class = Class::T1Gd;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hints_make_an_agent_and_one_a_doubt() {
        let mut t1 = Selection::new(Class::T1, vec![Reason::Timing]);
        t1.hint_at_agent();
        assert_eq!((t1.class, t1.reasons.last()), (Class::T1, Some(&Reason::AgentDoubtful)));
        t1.hint_at_agent();
        assert_eq!(t1.class, Class::T1Gd);
        assert_eq!(t1.reasons, [Reason::Timing, Reason::AgentHinted]);
        let mut t2 = Selection::new(Class::T2, vec![Reason::Timing]);
        t2.hint_at_agent();
        assert_eq!(t2, Selection::new(Class::T2, vec![Reason::Timing]), "only a T1 shows it");
        let mut said = Selection::by_site(Class::T1, "row 1".to_owned());
        said.hint_at_agent();
        said.hint_at_agent();
        assert_eq!(said.class, Class::T1, "a person has said what it is");
    }

    #[test]
    fn what_speaks_against_a_class_lowers_it() {
        let sure = |reasons: &[Reason]| Selection::new(Class::T2, reasons.to_vec()).confidence;
        assert_eq!(sure(&[Reason::Timing, Reason::EchoChosen]), Confidence::High);
        assert_eq!(sure(&[Reason::Timing, Reason::NearLimit]), Confidence::Low);
        assert_eq!(Selection::new(Class::Unknown, vec![]).confidence, Confidence::Low);
    }
}
