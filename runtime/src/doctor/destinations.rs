//! Does every destination answer, and would it take what its profile names?

use super::Finding;
use crate::config::Config;
use crate::objects::OutputKind;
use crate::publish::store::{self, Destination};
use crate::tls::Tls;

const PART: &str = "destination";

/// One finding for each destination of the configuration; each is asked by an association of its own.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    if config.destinations.is_empty() {
        let advice =
            "name the console in a [[destination]]; results are in the results folder anyway";
        return vec![Finding::absent(PART, "none in the configuration", advice)];
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::wrong(PART, error.to_string(), "ask again")],
    };
    // Certificates that cannot be read have a finding of their own.
    let tls = config.tls.as_ref().and_then(|settings| Tls::open(settings).ok());
    let ask = |destination| runtime.block_on(ask(destination, tls.as_ref()));
    config.destinations.iter().map(ask).collect()
}

async fn ask(destination: &Destination, tls: Option<&Tls>) -> Finding {
    let Destination { name, address, called_ae, profile, .. } = destination;
    let route = match destination.route(tls) {
        Ok(route) => route,
        Err(reason) => return Finding::wrong(PART, reason, "mend [tls]"),
    };
    let at = format!("{name} ({called_ae} at {address})");
    match store::probe(name, &route, profile).await {
        Ok(refused) if refused.is_empty() => {
            Finding::good(PART, format!("{at} takes {}", names(profile)))
        }
        Ok(refused) => {
            let text = format!("{at} does not take {}", names(&refused));
            let advice = "take it out of the profile, or let the receiver accept the class; the other objects are sent";
            Finding::wrong(PART, text, advice)
        }
        Err(error) => {
            let advice = format!(
                "{}: look at address and titles here, and at the list of peers there",
                error.whose_move().advice()
            );
            Finding::wrong(PART, error.to_string(), advice)
        }
    }
}

fn names(kinds: &[OutputKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}
