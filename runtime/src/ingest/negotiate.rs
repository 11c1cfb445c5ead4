//! Association negotiation (PS3.8 7.1): which presentation contexts we accept, and why an association is rejected.
//! Pure; the socket is [`super::association`]'s.

use super::association::{MAX_PDU_BYTES, Settings};
use super::classes::{self, TRANSFER_SYNTAXES};
use crate::part10::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason,
    AssociationRJSource, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, UserVariableItem,
};
use std::collections::HashMap;

/// The only application context there is (PS3.7 A.2.1).
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Odd numbers from 1 to 255 (PS3.8 table 9-13): more cannot be told apart.
const MAX_CONTEXTS: usize = 128;

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub abstract_syntax: String,
    pub transfer_syntax: String,
}

/// Accepted contexts by their id.
pub type Contexts = HashMap<u8, Context>;

/// The answer to a request: an acceptance with its contexts, or a rejection.
pub fn answer(
    request: &AssociationRQ,
    settings: &Settings,
) -> Result<(AssociationAC, Contexts), AssociationRJ> {
    use AssociationRJServiceUserReason as Reason;
    if request.protocol_version & 1 == 0 || request.presentation_contexts.len() > MAX_CONTEXTS {
        return Err(reject(Reason::NoReasonGiven));
    }
    if trim(&request.application_context_name) != APPLICATION_CONTEXT {
        return Err(reject(Reason::ApplicationContextNameNotSupported));
    }
    if settings.require_called_ae_title && request.called_ae_title.trim() != settings.ae_title {
        return Err(reject(Reason::CalledAETitleNotRecognized));
    }
    let mut contexts = Contexts::new();
    let results = request.presentation_contexts.iter().map(|proposed| {
        let (reason, transfer_syntax) = choose(proposed);
        if reason == PresentationContextResultReason::Acceptance {
            let context = Context {
                abstract_syntax: trim(&proposed.abstract_syntax).to_owned(),
                transfer_syntax: transfer_syntax.to_owned(),
            };
            contexts.insert(proposed.id, context);
        }
        PresentationContextResult {
            id: proposed.id,
            reason,
            transfer_syntax: transfer_syntax.to_owned(),
        }
    });
    let acceptance = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title.clone(),
        called_ae_title: request.called_ae_title.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results.collect(),
        user_variables: vec![
            UserVariableItem::MaxLength(MAX_PDU_BYTES),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION.to_owned()),
        ],
    };
    Ok((acceptance, contexts))
}

/// The rejection when all associations are in use: transient, the peer may try again.
pub fn full() -> AssociationRJ {
    AssociationRJ {
        result: AssociationRJResult::Transient,
        source: AssociationRJSource::ServiceProviderPresentation(
            AssociationRJServiceProviderPresentationReason::LocalLimitExceeded,
        ),
    }
}

fn reject(reason: AssociationRJServiceUserReason) -> AssociationRJ {
    AssociationRJ {
        result: AssociationRJResult::Permanent,
        source: AssociationRJSource::ServiceUser(reason),
    }
}

/// Our first transfer syntax among the proposed ones, whatever their order. A refused context names one as well,
/// without meaning (PS3.8 table 9-18).
fn choose(
    proposed: &PresentationContextProposed,
) -> (PresentationContextResultReason, &'static str) {
    use PresentationContextResultReason as Reason;
    let class = trim(&proposed.abstract_syntax);
    if class != uids::VERIFICATION && classes::usage(class).is_none() {
        return (Reason::AbstractSyntaxNotSupported, uids::IMPLICIT_VR_LITTLE_ENDIAN);
    }
    let offered = |ours: &&&str| proposed.transfer_syntaxes.iter().any(|ts| trim(ts) == **ours);
    match TRANSFER_SYNTAXES.iter().find(offered) {
        Some(ours) => (Reason::Acceptance, ours),
        None => (Reason::TransferSyntaxesNotSupported, uids::IMPLICIT_VR_LITTLE_ENDIAN),
    }
}

/// UIDs come padded with NUL, from some peers with spaces.
fn trim(uid: &str) -> &str {
    uid.trim_end_matches(|c: char| c == '\0' || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(contexts: &[(u8, &str, &[&str])]) -> AssociationRQ {
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "MR".to_owned(),
            called_ae_title: "SAGITTA".to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: contexts
                .iter()
                .map(|&(id, class, syntaxes)| PresentationContextProposed {
                    id,
                    abstract_syntax: class.to_owned(),
                    transfer_syntaxes: syntaxes.iter().map(|&s| s.to_owned()).collect(),
                })
                .collect(),
            user_variables: Vec::new(),
        }
    }

    #[test]
    fn explicit_wins_in_any_order_and_the_unknown_is_refused() {
        let request = request(&[
            (1, uids::MR_IMAGE_STORAGE, &["1.2.840.10008.1.2", "1.2.840.10008.1.2.1\0"]),
            (3, uids::CT_IMAGE_STORAGE, &["1.2.840.10008.1.2"]),
            (5, uids::MR_IMAGE_STORAGE, &["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]),
        ]);
        let (acceptance, contexts) = answer(&request, &Settings::default()).unwrap();
        assert_eq!(contexts.len(), 1);
        assert_eq!(contexts[&1].transfer_syntax, "1.2.840.10008.1.2.1");
        let reasons: Vec<_> =
            acceptance.presentation_contexts.iter().map(|result| result.reason.clone()).collect();
        use PresentationContextResultReason as Reason;
        assert_eq!(
            reasons,
            [
                Reason::Acceptance,
                Reason::AbstractSyntaxNotSupported,
                Reason::TransferSyntaxesNotSupported
            ]
        );
    }

    #[test]
    fn a_foreign_called_title_is_rejected_when_the_site_says_so() {
        let strict = Settings { require_called_ae_title: true, ..Settings::default() };
        let mut request = request(&[]);
        assert!(answer(&request, &strict).is_ok());
        request.called_ae_title = "OTHER".to_owned();
        assert!(answer(&request, &Settings::default()).is_ok());
        let rejection = answer(&request, &strict).unwrap_err();
        assert_eq!(rejection.result, AssociationRJResult::Permanent);
    }
}
