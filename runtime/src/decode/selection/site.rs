//! Section `selection` of the configuration: what a site takes, and as what.

use super::Class;
use crate::decode::geometry::text;
use crate::decode::parts::Dixon;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest compiled pattern, bytes: hundreds of times what a name needs, little beside a job.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Section `selection` of the configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names the state of the table in every report that a rule decided.
    #[serde(default)]
    pub version: String,
    /// The image of a Dixon acquisition that is taken.
    #[serde(default)]
    pub dixon: Dixon,
    /// Classes that this site does not want segmented.
    #[serde(default)]
    pub leave_out: Vec<Class>,
    /// The first one that fits decides.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// One row of the table: every condition that is given must hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    series_description: Option<Pattern>,
    protocol_name: Option<Pattern>,
    /// Station Name (0008,1010): the scanner, whoever passes its images on.
    station_name: Option<Pattern>,
    /// `no`, or the class that it is taken as.
    take: Take,
}

/// What becomes of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::decode) enum Take {
    /// Not segmented.
    No,
    #[serde(untagged)]
    As(Class),
}

/// A regular expression, found anywhere in a text, whatever the case.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        let mut builder = regex::RegexBuilder::new(&text);
        let built = builder.case_insensitive(true).size_limit(MAX_PATTERN_BYTES).build();
        built.map(Pattern).map_err(|error| format!("not a regular expression: {error}"))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.0.as_str().to_owned()
    }
}

impl Settings {
    /// What the types cannot rule out.
    ///
    /// # Errors
    /// In words for the site.
    pub fn check(&self) -> Result<(), String> {
        let all = |rule: &Rule| {
            rule.series_description.is_none()
                && rule.protocol_name.is_none()
                && rule.station_name.is_none()
        };
        if let Some(row) = self.rules.iter().position(all) {
            let row = row + 1;
            return Err(format!(
                "rule {row} of [selection] has no condition and would fit every series: name a \
                 series_description, protocol_name or station_name"
            ));
        }
        if !self.rules.is_empty() && self.version.is_empty() {
            return Err("[selection] has rules, but no version: reports name it".to_owned());
        }
        Ok(())
    }

    /// The verdict of the first rule that fits, and its name in reports.
    pub(in crate::decode) fn verdict(&self, header: &InMemDicomObject) -> Option<(Take, String)> {
        let fits = |pattern: &Option<Pattern>, tag| {
            pattern.as_ref().is_none_or(|pattern| pattern.0.is_match(&text(header, tag)))
        };
        let row = self.rules.iter().position(|rule| {
            fits(&rule.series_description, tags::SERIES_DESCRIPTION)
                && fits(&rule.protocol_name, tags::PROTOCOL_NAME)
                && fits(&rule.station_name, tags::STATION_NAME)
        })?;
        Some((self.rules[row].take, format!("table {}, rule {}", self.version, row + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::{DataElement, VR};

    fn table(text: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.check().map(|()| settings)
    }

    fn header(description: &str, station: &str) -> InMemDicomObject {
        InMemDicomObject::from_element_iter([
            DataElement::new(tags::SERIES_DESCRIPTION, VR::LO, description),
            DataElement::new(tags::STATION_NAME, VR::SH, station),
        ])
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let site = table(
            "version = '7'\n\
             [[rule]]\nseries_description = '^sag.*pd'\ntake = 'no'\n\
             [[rule]]\nseries_description = 'sag'\nstation_name = '^MR2$'\ntake = 't1_3d'\n",
        )
        .unwrap();
        let verdict = |description, station| site.verdict(&header(description, station));
        assert_eq!(verdict("SAG PD TSE", "MR2"), Some((Take::No, "table 7, rule 1".to_owned())));
        let taken = Some((Take::As(Class::T1ThreeD), "table 7, rule 2".to_owned()));
        assert_eq!(verdict("t1 vibe sag", "MR2"), taken);
        assert_eq!(verdict("t1 vibe sag", "MR21"), None);
    }

    #[test]
    fn a_wrong_table_is_refused_in_words() {
        let refused = |text| table(text).unwrap_err();
        assert!(
            refused("[[rule]]\ntake = 't2'").contains("rule 1 of [selection] has no condition")
        );
        assert!(refused("[[rule]]\nprotocol_name = 'x'\ntake = 't2'").contains("no version"));
        let bad = refused("version = '1'\n[[rule]]\nprotocol_name = '('\ntake = 't2'");
        assert!(bad.contains("not a regular expression"), "{bad}");
        assert!(refused("[[rule]]\nprotocol_name = 'x'\ntake = 't9'").contains("take"), "take");
        assert!(refused("dixon = 'butter'").contains("in_phase"));
    }
}
