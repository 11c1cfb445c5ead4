//! Association negotiation (PS3.8 7.1): which presentation contexts we accept, and why an association is rejected.
//! Pure; the socket is [`super::association`]'s.

use super::association::Settings;
use super::classes::{self, TRANSFER_SYNTAXES};
use crate::error::Move;
use crate::part10::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use crate::wire::MAX_PDU_BYTES;
use crate::wire::requestor::MAX_CONTEXTS;
use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason,
    AssociationRJSource, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, UserVariableItem,
};
use std::collections::HashMap;
use thiserror::Error;

/// The only application context there is (PS3.7 A.2.1).
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// The transfer syntax of classes with small data sets (`dimse::data_set`).
const NORMALIZED_SYNTAX: [&str; 1] = [uids::IMPLICIT_VR_LITTLE_ENDIAN];

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub abstract_syntax: String,
    pub transfer_syntax: String,
}

/// Accepted contexts by their id.
pub type Contexts = HashMap<u8, Context>;

/// Why an association is rejected. The texts hold nothing that the peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejection {
    #[error("the protocol version is not 1")]
    Version,
    #[error("more presentation contexts than can be told apart")]
    TooManyContexts,
    #[error("another application context than DICOM's")]
    Application,
    #[error("it calls another AE title than ours")]
    Called,
    /// Title, address or certificate is no peer's.
    #[error("{0}")]
    Calling(&'static str),
    /// It may try again.
    #[error("{0}")]
    Full(&'static str),
    /// It may try again later.
    #[error("no more series are taken until a command says so")]
    Draining,
}

impl Rejection {
    /// Source and reason of PS3.8 table 9-21.
    pub fn pdu(self) -> AssociationRJ {
        use AssociationRJServiceUserReason as User;
        use AssociationRJSource as Source;
        let (result, source) = (AssociationRJResult::Permanent, Source::ServiceUser);
        let (result, source) = match self {
            Rejection::Version => {
                let reason = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
                (result, Source::ServiceProviderASCE(reason))
            }
            Rejection::TooManyContexts => (result, source(User::NoReasonGiven)),
            Rejection::Application => (result, source(User::ApplicationContextNameNotSupported)),
            Rejection::Called => (result, source(User::CalledAETitleNotRecognized)),
            Rejection::Calling(_) => (result, source(User::CallingAETitleNotRecognized)),
            Rejection::Full(_) => {
                let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
                (AssociationRJResult::Transient, Source::ServiceProviderPresentation(reason))
            }
            Rejection::Draining => {
                let reason = AssociationRJServiceProviderPresentationReason::TemporaryCongestion;
                (AssociationRJResult::Transient, Source::ServiceProviderPresentation(reason))
            }
        };
        AssociationRJ { result, source }
    }

    pub fn whose_move(self) -> Move {
        match self {
            Rejection::Version | Rejection::TooManyContexts | Rejection::Application => Move::Peer,
            // Titles, lists and numbers of places are written into configurations, at one end or the other.
            Rejection::Called | Rejection::Calling(_) | Rejection::Full(_) => Move::Site,
            // Somebody of the site has ordered it.
            Rejection::Draining => Move::Site,
        }
    }
}

/// The acceptance of a request with its contexts, or why it is rejected.
pub fn answer(
    request: &AssociationRQ,
    settings: &Settings,
) -> Result<(AssociationAC, Contexts), Rejection> {
    if request.protocol_version & 1 == 0 {
        return Err(Rejection::Version);
    }
    if request.presentation_contexts.len() > MAX_CONTEXTS {
        return Err(Rejection::TooManyContexts);
    }
    if trim(&request.application_context_name) != APPLICATION_CONTEXT {
        return Err(Rejection::Application);
    }
    if settings.require_called_ae_title && request.called_ae_title.trim() != settings.ae_title {
        return Err(Rejection::Called);
    }
    let mut contexts = Contexts::new();
    let results = request.presentation_contexts.iter().map(|proposed| {
        let (reason, transfer_syntax) = choose(proposed, settings);
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

/// Our first transfer syntax among the proposed ones, whatever their order. A refused context names one as well,
/// without meaning (PS3.8 table 9-18).
fn choose(
    proposed: &PresentationContextProposed,
    settings: &Settings,
) -> (PresentationContextResultReason, &'static str) {
    use PresentationContextResultReason as Reason;
    let class = trim(&proposed.abstract_syntax);
    let ours: &[&'static str] = match class {
        uids::MODALITY_PERFORMED_PROCEDURE_STEP => &NORMALIZED_SYNTAX,
        uids::STORAGE_COMMITMENT_PUSH_MODEL if settings.commitment => &NORMALIZED_SYNTAX,
        uids::VERIFICATION => &TRANSFER_SYNTAXES,
        storage if takes(storage, settings) => &TRANSFER_SYNTAXES,
        _ => return (Reason::AbstractSyntaxNotSupported, uids::IMPLICIT_VR_LITTLE_ENDIAN),
    };
    let offered = |ours: &&&str| proposed.transfer_syntaxes.iter().any(|ts| trim(ts) == **ours);
    match ours.iter().find(offered) {
        Some(ours) => (Reason::Acceptance, ours),
        None => (Reason::TransferSyntaxesNotSupported, uids::IMPLICIT_VR_LITTLE_ENDIAN),
    }
}

fn takes(storage: &str, settings: &Settings) -> bool {
    let switched_off = storage == uids::ENHANCED_MR_IMAGE_STORAGE && !settings.enhanced_mr;
    classes::usage(storage).is_some() && !switched_off
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
    fn a_site_without_enhanced_mr_gets_the_classic_form() {
        let request = request(&[
            (1, uids::ENHANCED_MR_IMAGE_STORAGE, &["1.2.840.10008.1.2.1"]),
            (3, uids::MR_IMAGE_STORAGE, &["1.2.840.10008.1.2.1"]),
        ]);
        let classic = Settings { enhanced_mr: false, ..Settings::default() };
        let ids = |settings: &Settings| {
            let mut ids: Vec<u8> = answer(&request, settings).unwrap().1.into_keys().collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(&Settings::default()), [1, 3]);
        assert_eq!(ids(&classic), [3]);
    }

    #[test]
    fn a_foreign_called_title_is_rejected_when_the_site_says_so() {
        let strict = Settings { require_called_ae_title: true, ..Settings::default() };
        let mut request = request(&[]);
        assert!(answer(&request, &strict).is_ok());
        request.called_ae_title = "OTHER".to_owned();
        assert!(answer(&request, &Settings::default()).is_ok());
        assert_eq!(answer(&request, &strict).unwrap_err(), Rejection::Called);
    }

    #[test]
    fn rejections_have_the_numbers_of_the_standard() {
        // Result, source, reason: PS3.8 table 9-21.
        for (rejection, numbers) in [
            (Rejection::Version, [1, 2, 2]),
            (Rejection::TooManyContexts, [1, 1, 1]),
            (Rejection::Application, [1, 1, 2]),
            (Rejection::Calling(""), [1, 1, 3]),
            (Rejection::Called, [1, 1, 7]),
            (Rejection::Full(""), [2, 3, 2]),
            (Rejection::Draining, [2, 3, 1]),
        ] {
            let mut bytes = Vec::new();
            let pdu = dicom_ul::pdu::Pdu::AssociationRJ(rejection.pdu());
            dicom_ul::pdu::write_pdu(&mut bytes, &pdu).unwrap();
            assert_eq!(bytes[7..10], numbers, "{rejection:?}");
        }
    }
}
