//! A measure: a value with its unit and how far to trust it, or the reason why there is none.

use serde::Serialize;

/// A number with a unit. Always finite: a value that is none cannot be made.
pub trait Unit: Copy {
    fn new(number: f64) -> Option<Self>;
    fn number(self) -> f64;
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl Unit for $name {
            fn new(number: f64) -> Option<Self> {
                number.is_finite().then_some($name(number))
            }

            fn number(self) -> f64 {
                self.0
            }
        }
    };
}

unit!(Millimetres);
unit!(SquareMillimetres);
unit!(Millilitres);
unit!(Degrees);
unit!(
    /// Without a unit: a share, a quotient or a z-score.
    Ratio
);

/// Why something could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The body or disc reaches the edge of the field of view.
    CutByField,
    /// The borders between body and disc could not be fitted.
    NoEndplates,
    NoDisc,
    NoCanal,
    /// No cord at this height: below the conus, or not segmented.
    NoCord,
    TooFewVoxels,
    /// A vertebra that the measure compares with is not in view, or not measurable itself.
    NeighbourMissing,
    /// The measure needs a named level, and no landmark names one.
    LevelUnverified,
    /// The named levels are not in view.
    LevelNotInView,
    /// The arithmetic has no answer, such as a quotient by nothing.
    Undefined,
}

/// A value and its confidence from 0 to 1: the share of the surface points that the fit agrees with, lower where there
/// are few of them. Not a probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    pub(crate) value: f64,
    pub(crate) confidence: f64,
}

impl Reading {
    pub(crate) fn new(value: f64, confidence: f64) -> Reading {
        Reading { value, confidence }
    }

    /// A value made of two: as sure as the less sure.
    pub(crate) fn with(self, other: Reading, value: f64) -> Reading {
        Reading { value, confidence: self.confidence.min(other.confidence) }
    }
}

/// A measure in unit `U`. In JSON `{"value": 27.1, "confidence": 0.9}` or `{"not_measurable": "cut_by_field"}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Measured<U> {
    Value { value: U, confidence: Ratio },
    NotMeasurable { not_measurable: Reason },
}

impl<U: Unit> Measured<U> {
    pub fn not(reason: Reason) -> Measured<U> {
        Measured::NotMeasurable { not_measurable: reason }
    }

    /// The number in its unit, where there is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Measured::Value { value, .. } => Some(value.number()),
            Measured::NotMeasurable { .. } => None,
        }
    }

    /// 0 to 1, where there is a value.
    pub fn confidence(&self) -> Option<f64> {
        match self {
            Measured::Value { confidence, .. } => Some(confidence.number()),
            Measured::NotMeasurable { .. } => None,
        }
    }

    pub fn reason(&self) -> Option<Reason> {
        match self {
            Measured::Value { .. } => None,
            Measured::NotMeasurable { not_measurable } => Some(*not_measurable),
        }
    }

    pub(crate) fn reading(&self) -> Result<Reading, Reason> {
        match *self {
            Measured::Value { value, confidence } => {
                Ok(Reading::new(value.number(), confidence.number()))
            }
            Measured::NotMeasurable { not_measurable } => Err(not_measurable),
        }
    }
}

impl<U: Unit> From<Result<Reading, Reason>> for Measured<U> {
    fn from(reading: Result<Reading, Reason>) -> Measured<U> {
        let reading = match reading {
            Ok(reading) => reading,
            Err(reason) => return Measured::not(reason),
        };
        match (U::new(reading.value), Ratio::new(reading.confidence.clamp(0.0, 1.0))) {
            (Some(value), Some(confidence)) => Measured::Value { value, confidence },
            _ => Measured::not(Reason::Undefined),
        }
    }
}

/// `top / bottom` where that is defined.
pub(crate) fn quotient(
    top: Result<Reading, Reason>,
    bottom: Result<Reading, Reason>,
) -> Result<Reading, Reason> {
    let (top, bottom) = (top?, bottom?);
    if bottom.value <= 0.0 {
        return Err(Reason::Undefined);
    }
    Ok(top.with(bottom, top.value / bottom.value))
}
