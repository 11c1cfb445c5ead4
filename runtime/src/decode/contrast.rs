//! The contrast class of an image by its header (scanner-side section 5, rules 3 and 5).
//!
//! Vendors differ: nothing here trusts Acquisition Contrast (Siemens XA writes UNKNOWN). Free text decides only where the
//! timing tells nothing, and lowers the confidence where it disagrees.

use super::facts::Facts;
use super::selection::{Class, Reason, Selection};
use std::ops::RangeInclusive;

// Timing in ms that separates the contrasts at 1.5 T and 3 T.
const T2_MIN_ECHO: f64 = 60.0;
const T2_MIN_REPETITION: f64 = 1500.0;
const T1_MAX_ECHO: f64 = 35.0;
const T1_MAX_REPETITION: f64 = 1300.0;
const T1_INVERSION: RangeInclusive<f64> = 600.0..=1200.0;
const STIR_INVERSION: RangeInclusive<f64> = 80.0..=260.0;
const STIR_MIN_ECHO: f64 = 20.0;
/// Timing within this share of a limit leaves a doubt.
const NEAR: f64 = 0.1;
/// Echo times of everyday protocols, ms: of several echoes the nearest is taken.
const T2_USUAL_ECHO: f64 = 100.0;
const STIR_USUAL_ECHO: f64 = 50.0;
const T1_USUAL_ECHO: f64 = 10.0;
/// Names of 3-D gradient-echo T1 sequences.
const T1_3D_NAMES: [&str; 7] = ["MPRAGE", "TFL3D", "BRAVO", "VIBE", "FSPGR", "TFE", "THRIVE"];
/// Words for a contrast agent in names of series and protocols: English, German (KM), names of agents.
const AGENT_WORDS: [&str; 17] = [
    "GD",
    "GAD",
    "GADO",
    "GADOLINIUM",
    "+C",
    "C+",
    "POST",
    "KM",
    "CE",
    "CONTRAST",
    "DOTAREM",
    "GADOVIST",
    "MAGNEVIST",
    "PROHANCE",
    "MULTIHANCE",
    "CLARISCAN",
    "+GD",
];

/// The class of the image that `facts` are of.
pub(super) fn classify(facts: &Facts) -> Selection {
    let named = named(&facts.names);
    let (class, mut reasons) = match by_timing(facts) {
        Class::Unknown => match named {
            Some(class) => (class, vec![Reason::NamesOnly]),
            None => return Selection::unknown(),
        },
        class if facts.spin_echo => (class, vec![Reason::Timing]),
        class => (class, vec![Reason::SequenceName]),
    };
    if reasons == [Reason::Timing] && is_near_a_limit(class, facts) {
        reasons.push(Reason::NearLimit);
    }
    if named.is_some_and(|named| !named.is_like(class)) {
        reasons.push(Reason::NamesDisagree);
    }
    let mut selection = Selection::new(class, reasons);
    if class.is_t1() && facts.agent.named {
        return selection.with_agent();
    }
    for told in [facts.agent.injected, words(&facts.names).any(|w| AGENT_WORDS.contains(&w))] {
        if told {
            selection.hint_at_agent();
        }
    }
    selection
}

/// How far an echo is from those of a class, ms; further than any for one of no class.
pub(super) fn echo_distance(facts: &Facts) -> f64 {
    let usual = match by_timing(facts) {
        Class::T1 | Class::T1Gd | Class::T1ThreeD => T1_USUAL_ECHO,
        Class::T2 | Class::T2ThreeD => T2_USUAL_ECHO,
        Class::Stir => STIR_USUAL_ECHO,
        Class::Unknown => return f64::INFINITY,
    };
    (facts.echo.unwrap_or(f64::MAX) - usual).abs()
}

/// Weighting by the timing of the sequence.
fn by_timing(facts: &Facts) -> Class {
    let (Some(echo), Some(repetition)) = (facts.echo, facts.repetition) else {
        return Class::Unknown;
    };
    let inverted =
        |range: &RangeInclusive<f64>| facts.inversion.is_some_and(|t| range.contains(&t));
    if facts.spin_echo {
        if inverted(&STIR_INVERSION) && echo >= STIR_MIN_ECHO {
            return Class::Stir;
        }
        let short = repetition <= T1_MAX_REPETITION || inverted(&T1_INVERSION);
        let t1 = echo <= T1_MAX_ECHO && short;
        let t2 = echo >= T2_MIN_ECHO && repetition >= T2_MIN_REPETITION;
        return match (t1, t2, facts.three_dimensional) {
            (true, _, false) => Class::T1,
            (true, _, true) => Class::T1ThreeD,
            (_, true, false) => Class::T2,
            (_, true, true) => Class::T2ThreeD,
            _ => Class::Unknown,
        };
    }
    let named = T1_3D_NAMES.iter().any(|name| facts.names.contains(name));
    let t1 = facts.gradient_echo && facts.three_dimensional && echo <= T1_MAX_ECHO;
    if t1 && (named || inverted(&T1_INVERSION)) { Class::T1ThreeD } else { Class::Unknown }
}

/// Whether other numbers, a tenth away, would have made another class of a spin echo.
fn is_near_a_limit(class: Class, facts: &Facts) -> bool {
    let scaled = |echo: f64, repetition: f64, inversion: f64| {
        let by = |value: Option<f64>, factor: f64| value.map(|value| value * factor);
        by_timing(&Facts {
            echo: by(facts.echo, echo),
            repetition: by(facts.repetition, repetition),
            inversion: by(facts.inversion, inversion),
            ..facts.clone()
        })
    };
    [1.0 - NEAR, 1.0 + NEAR].into_iter().any(|factor| {
        let changed =
            [scaled(factor, 1.0, 1.0), scaled(1.0, factor, 1.0), scaled(1.0, 1.0, factor)];
        changed.iter().any(|&other| other != class)
    })
}

/// What the names of sequence, protocol and series say, where they say one thing.
fn named(names: &str) -> Option<Class> {
    let says = |beginning: &str| words(names).any(|word| word.starts_with(beginning));
    match (says("T1"), says("T2"), says("STIR") || says("TIRM")) {
        (false, _, true) => Some(Class::Stir),
        (true, false, false) => Some(Class::T1),
        (false, true, false) => Some(Class::T2),
        _ => None,
    }
}

/// The words of a text: between them is what no word of ours holds.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '+').filter(|word| !word.is_empty())
}

impl Class {
    /// Whether two classes differ in no more than dimensions or a contrast agent.
    fn is_like(self, other: Class) -> bool {
        let is_t2 = |class: Class| matches!(class, Class::T2 | Class::T2ThreeD);
        self == other || (self.is_t1() && other.is_t1()) || (is_t2(self) && is_t2(other))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Agent, spin_echo};
    use super::super::selection::Confidence;
    use super::*;

    fn timed(echo: f64, repetition: f64, inversion: Option<f64>) -> Facts {
        Facts { echo: Some(echo), repetition: Some(repetition), inversion, ..spin_echo() }
    }

    #[test]
    fn timing_tells_the_contrast() {
        let class = |echo, repetition, inversion| by_timing(&timed(echo, repetition, inversion));
        assert_eq!(class(100.0, 3500.0, None), Class::T2);
        assert_eq!(class(10.0, 600.0, None), Class::T1);
        assert_eq!(class(12.0, 2500.0, Some(860.0)), Class::T1, "T1-FLAIR");
        assert_eq!(class(60.0, 4000.0, Some(160.0)), Class::Stir);
        assert_eq!(class(30.0, 3000.0, None), Class::Unknown, "proton density");
        assert_eq!(by_timing(&Facts { echo: None, ..spin_echo() }), Class::Unknown);
        let slab = Facts { three_dimensional: true, ..spin_echo() };
        assert_eq!(by_timing(&slab), Class::T2ThreeD);
        let mprage = Facts {
            spin_echo: false,
            gradient_echo: true,
            three_dimensional: true,
            ..timed(2.5, 2000.0, Some(900.0))
        };
        assert_eq!(classify(&mprage).class, Class::T1ThreeD);
        let nameless = Facts { inversion: None, ..mprage };
        assert_eq!(classify(&nameless).class, Class::Unknown, "gradient echo, no name");
    }

    #[test]
    fn a_doubt_has_its_reason() {
        let judged = |facts: Facts| {
            let selection = classify(&facts);
            (selection.class, selection.confidence, selection.reasons)
        };
        let called = |names: &str, facts: Facts| Facts { names: names.to_owned(), ..facts };
        let everyday = called("T2_TSE_SAG", spin_echo());
        assert_eq!(judged(everyday), (Class::T2, Confidence::High, vec![Reason::Timing]));
        let near = vec![Reason::Timing, Reason::NearLimit];
        assert_eq!(judged(timed(62.0, 3500.0, None)), (Class::T2, Confidence::Low, near.clone()));
        assert_eq!(judged(timed(10.0, 1250.0, None)), (Class::T1, Confidence::Low, near));
        let wrong = vec![Reason::Timing, Reason::NamesDisagree];
        let called_t1 = called("SAG T1 TSE", spin_echo());
        assert_eq!(judged(called_t1), (Class::T2, Confidence::Low, wrong));
        let odd = called("T2W SAG", timed(50.0, 3000.0, None));
        assert_eq!(judged(odd), (Class::T2, Confidence::Low, vec![Reason::NamesOnly]));
        let stir = called("T2_TIRM_SAG", timed(60.0, 4000.0, Some(160.0)));
        assert_eq!(judged(stir), (Class::Stir, Confidence::High, vec![Reason::Timing]));
    }

    #[test]
    fn an_agent_is_named_or_hinted_at() {
        let t1 = |names: &str, agent| Facts {
            names: names.to_owned(),
            agent,
            ..timed(10.0, 600.0, None)
        };
        let judged = |facts: &Facts| {
            let selection = classify(facts);
            (selection.class, selection.reasons.last().copied())
        };
        let none = Agent::default();
        let (named, injected) = (Agent { named: true, ..none }, Agent { injected: true, ..none });
        assert_eq!(judged(&t1("T1 SAG", named)), (Class::T1Gd, Some(Reason::AgentNamed)));
        assert_eq!(judged(&t1("T1 SAG +C", injected)), (Class::T1Gd, Some(Reason::AgentHinted)));
        assert_eq!(judged(&t1("T1 SAG POST", none)), (Class::T1, Some(Reason::AgentDoubtful)));
        assert_eq!(judged(&t1("T1 POSTERIOR", none)), (Class::T1, Some(Reason::Timing)));
        let t2 = Facts { agent: named, ..spin_echo() };
        assert_eq!(judged(&t2), (Class::T2, Some(Reason::Timing)), "T2 after the agent is T2");
    }
}
