//! A series may hold each slice several times: magnitude and phase, the images of a Dixon acquisition, several echoes, with
//! and without a correction. One of each is chosen (scanner-side section 5, rule 4).

use super::contrast::echo_distance;
use super::facts::Facts;
use super::gate::is_magnitude;
use super::selection::Reason;
use pipeline::{Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Echo times of one stack agree within this, ms. Scanners round to some hundredths; echoes of one excitation are a
/// millisecond apart at least (fat and water in and out of phase at 3 T: 1.15 ms).
const ECHO_TOLERANCE: f64 = 0.5;

/// An image of a Dixon acquisition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dixon {
    #[default]
    Water,
    Fat,
    InPhase,
    OppPhase,
}

impl Dixon {
    /// By the values of Image Type from the third on, as vendors write them.
    fn of(facts: &Facts) -> Option<Dixon> {
        facts.image_type.iter().skip(2).find_map(|value| match value.as_str() {
            "WATER" | "W" => Some(Dixon::Water),
            "FAT" | "F" => Some(Dixon::Fat),
            "IN_PHASE" | "IP" => Some(Dixon::InPhase),
            "OPP_PHASE" | "OUT_PHASE" | "OP" => Some(Dixon::OppPhase),
            _ => None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Dixon::Water => "water",
            Dixon::Fat => "fat",
            Dixon::InPhase => "in-phase",
            Dixon::OppPhase => "opposed-phase",
        }
    }
}

/// How much was done to an image: what is corrected for distortion is preferred, then what is for the coils.
fn corrections(facts: &Facts) -> usize {
    let distortion = facts.says("DIS2D") || facts.says("DIS3D");
    2 * usize::from(distortion) + usize::from(facts.says("NORM"))
}

/// The frames of one stack.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// Indices into the frames given.
    pub(super) frames: Vec<usize>,
    /// Why these, where there were others.
    pub(super) reasons: Vec<Reason>,
    /// What they are corrected for, to compare with another series of the same acquisition.
    pub(super) corrections: usize,
}

/// Chooses among the frames of a series.
///
/// # Errors
/// [`RefusalCode::NotSelected`] for a Dixon series without the wanted image.
pub(super) fn choose(facts: &[&Facts], dixon: Dixon) -> Result<Choice, Refusal> {
    let mut chosen = Chosen { facts, frames: (0..facts.len()).collect(), reasons: Vec::new() };
    chosen.keep(Reason::MagnitudeChosen, is_magnitude);
    if facts.iter().any(|facts| Dixon::of(facts).is_some()) {
        chosen.keep(Reason::DixonChosen, |facts| Dixon::of(facts) == Some(dixon));
        if Dixon::of(facts[chosen.frames[0]]) != Some(dixon) {
            let text = format!(
                "it is of a Dixon acquisition, of which the {} image is taken",
                dixon.name()
            );
            return Err(Refusal::new(RefusalCode::NotSelected, text));
        }
    }
    let best = chosen.least(echo_distance);
    if let Some(echo) = best.and_then(|facts| facts.echo) {
        let near = |facts: &Facts| facts.echo.is_none_or(|e| (e - echo).abs() <= ECHO_TOLERANCE);
        chosen.keep(Reason::EchoChosen, near);
    }
    let most = chosen.frames.iter().map(|&k| corrections(facts[k])).max().unwrap_or(0);
    chosen.keep(Reason::CorrectedChosen, |facts| corrections(facts) == most);
    let Chosen { frames, reasons, .. } = chosen;
    Ok(Choice { frames, reasons, corrections: most })
}

struct Chosen<'a> {
    facts: &'a [&'a Facts],
    frames: Vec<usize>,
    reasons: Vec<Reason>,
}

impl<'a> Chosen<'a> {
    /// Keeps the frames of which `wanted` holds, for that reason. Where it holds of all or of none, nothing is changed.
    fn keep(&mut self, reason: Reason, wanted: impl Fn(&Facts) -> bool) {
        let kept: Vec<usize> =
            self.frames.iter().copied().filter(|&k| wanted(self.facts[k])).collect();
        if !kept.is_empty() && kept.len() < self.frames.len() {
            self.frames = kept;
            self.reasons.push(reason);
        }
    }

    /// The frame with the least of a measure; the first of several.
    fn least(&self, measure: impl Fn(&Facts) -> f64) -> Option<&'a Facts> {
        let frames = self.frames.iter().map(|&k| self.facts[k]);
        frames.min_by(|a, b| measure(a).total_cmp(&measure(b)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::spin_echo;
    use super::*;

    fn typed(values: &[&str]) -> Facts {
        let begin = ["DERIVED", "PRIMARY"].iter().chain(values);
        Facts { image_type: begin.map(|&value| value.to_owned()).collect(), ..spin_echo() }
    }

    fn echo(echo: f64, repetition: f64) -> Facts {
        Facts { echo: Some(echo), repetition: Some(repetition), ..spin_echo() }
    }

    fn chosen(facts: &[Facts]) -> (Vec<usize>, Vec<Reason>) {
        let choice = choose(&facts.iter().collect::<Vec<_>>(), Dixon::Water).unwrap();
        (choice.frames, choice.reasons)
    }

    #[test]
    fn one_of_each_slice_is_chosen() {
        let dixon = ["W", "FAT", "IN_PHASE", "OP", "WATER"].map(|kind| typed(&["M", kind]));
        assert_eq!(chosen(&dixon), (vec![0, 4], vec![Reason::DixonChosen]));
        let parts = [typed(&["M"]), typed(&["P"]), typed(&["REAL"]), typed(&["M"])];
        assert_eq!(chosen(&parts), (vec![0, 3], vec![Reason::MagnitudeChosen]));
        let twins = [typed(&["M", "ND"]), typed(&["M", "NORM", "DIS2D"]), typed(&["M", "NORM"])];
        assert_eq!(chosen(&twins), (vec![1], vec![Reason::CorrectedChosen]));
        assert_eq!(chosen(&[typed(&["M"]), typed(&["M"])]), (vec![0, 1], vec![]));
    }

    #[test]
    fn of_several_echoes_the_one_nearest_to_a_class_is_chosen() {
        let pair =
            [echo(15.0, 3500.0), echo(98.02, 3500.0), echo(15.0, 3500.0), echo(98.0, 3500.0)];
        assert_eq!(chosen(&pair), (vec![1, 3], vec![Reason::EchoChosen]));
        let train = [20.0, 40.0, 60.0, 80.0, 110.0, 130.0].map(|te| echo(te, 2500.0));
        assert_eq!(chosen(&train), (vec![4], vec![Reason::EchoChosen]));
        let of_no_class = [4.9, 7.4].map(|te| Facts { spin_echo: false, ..echo(te, 500.0) });
        assert_eq!(chosen(&of_no_class), (vec![0], vec![Reason::EchoChosen]), "the first");
        assert_eq!(chosen(&[Facts { echo: None, ..spin_echo() }]), (vec![0], vec![]));
    }

    #[test]
    fn a_dixon_series_without_the_wanted_image_is_left_out() {
        let fat = typed(&["M", "F"]);
        let fat = [&fat, &fat];
        let refusal = choose(&fat, Dixon::Water).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotSelected);
        assert!(refusal.text.contains("the water image is taken"), "{refusal}");
        assert_eq!(choose(&fat, Dixon::Fat).unwrap().frames, [0, 1]);
    }
}
