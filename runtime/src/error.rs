//! Whose move an error is. DICOM status, MQTT reason and exit code derive from this one place.

use serde::Serialize;

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// The sender: another object, another series, a corrected one.
    Peer,
    /// The site or its administrator: disk, network, configuration.
    Site,
    /// Us: a bug to report with the log bundle.
    Sagitta,
}

impl Move {
    /// The closing words of an error line.
    pub fn advice(self) -> &'static str {
        match self {
            Move::Peer => "the sender's move",
            Move::Site => "the site's move",
            Move::Sagitta => "a fault of Sagitta: please report it",
        }
    }
}
