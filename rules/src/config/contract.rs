//! Reads the `contracts` of a configuration: expected transfers, and who may do them.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::Contract;
use super::at_most::at_most;
use super::file::date;
use super::store::label;
use super::when::when;
use super::who::{ae_title, who};
use crate::yaml::{At, Fields};

/// Contracts of a host; each is compared with what is sent.
const CONTRACT_LIMIT: usize = 256;

pub(super) fn contract(at: At<'_>) -> Option<Contract> {
    let fields = at.fields("a contract")?;
    let name = fields.required("name", label);
    let who = fields.required("who", who);
    let to = fields.required("to", |at| at.list(At::parse));
    let to_ae = fields.optional("to-ae", |at| at.list(ae_title));
    let when = fields.optional("when", when);
    let at_most = fields.optional("at-most", |at| at_most(at, when.as_ref()));
    let owner = fields.required("owner", At::name);
    let until = fields.optional("until", date);
    if let Some(at) = fields.field("to").filter(|at| at.items().is_empty()) {
        at.wrong::<()>(
            "a contract needs somebody to send to",
            "give an address, a network, or several",
        );
    }
    fields.end();
    let (at_most, written) = at_most.unwrap_or_default();
    let of_hours = when.as_ref().map(|when| when.zone().clone());
    let zone = of_hours.or(written).unwrap_or(TimeZone::UTC);
    Some(Contract {
        name: name?,
        who: who?,
        to: to?,
        to_ae: to_ae.unwrap_or_default(),
        when,
        at_most,
        zone,
        owner: owner?,
        until,
    })
}

/// What is wrong with contracts only together: two of one name, too many.
pub(super) fn check(fields: &Fields<'_>, contracts: &[Contract]) {
    let Some(at) = fields.field("contracts") else {
        return;
    };
    if contracts.len() > CONTRACT_LIMIT {
        at.wrong::<()>(
            format!("more than {CONTRACT_LIMIT} contracts"),
            "give one contract several targets",
        );
    }
    let mut names = BTreeSet::new();
    let items = at.items();
    for (contract, item) in contracts
        .iter()
        .zip(&items)
        .filter(|_| items.len() == contracts.len())
    {
        if !names.insert(&contract.name) {
            let message = format!("a second contract '{}'", contract.name);
            item.wrong::<()>(message, "give it a name of its own");
        }
    }
}
