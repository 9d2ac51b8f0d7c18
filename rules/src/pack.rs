//! The shipped rules: one file each, with their own tests inside.

use std::collections::BTreeSet;

use crate::event::{Name, RuleText};
use crate::rule;

macro_rules! pack {
    ($file:literal) => {
        ($file, include_str!(concat!("../packs/", $file)))
    };
}

/// File name and text, in the order in which they are loaded. A new rule is one line here and its file.
pub const PACKS: &[(&str, &str)] = &[
    pack!("store-data-leaves.yaml"),
    pack!("store-leaks-in-sum.yaml"),
    pack!("store-leaks-to-one-place.yaml"),
    pack!("store-data-to-peer.yaml"),
    pack!("store-served-to-peer.yaml"),
    pack!("store-holder-keeps-talking.yaml"),
    pack!("bulk-outbound.yaml"),
    pack!("sustained-rate.yaml"),
    pack!("store-mass-read.yaml"),
    pack!("store-copied-below.yaml"),
    pack!("store-to-media.yaml"),
    pack!("raw-device-opened.yaml"),
    pack!("memory-read.yaml"),
    pack!("decoy-opened.yaml"),
    pack!("dicom-moved-away.yaml"),
    pack!("dns-tunnel.yaml"),
    pack!("dns-names-in-sum.yaml"),
    pack!("encrypted-dns.yaml"),
    pack!("new-resolver.yaml"),
    pack!("icmp-tunnel.yaml"),
    pack!("new-destination.yaml"),
    pack!("new-program-reads-store.yaml"),
    pack!("new-user-reads-store.yaml"),
    pack!("data-port-answers.yaml"),
    pack!("new-ae-title.yaml"),
    pack!("new-interface.yaml"),
    pack!("store-data-to-new-destination.yaml"),
    pack!("served-in-bulk.yaml"),
    pack!("unattributed-bytes.yaml"),
    pack!("destination-rewritten.yaml"),
    pack!("sensor-blind.yaml"),
    pack!("sensor-lowered.yaml"),
    pack!("data-lost.yaml"),
];

/// The shipped rule files and the user's own. A shipped rule that the user's files define anew stays out: that is how a
/// shipped limit is changed.
#[must_use]
pub fn with_own(own: Vec<RuleText>) -> Vec<RuleText> {
    let named: BTreeSet<Name> = own
        .iter()
        .flat_map(|file| names(&file.file, &file.text))
        .collect();
    let shipped = PACKS
        .iter()
        .filter(|(file, text)| !names(file, text).iter().any(|name| named.contains(name)))
        .map(|(file, text)| RuleText {
            file: (*file).to_owned(),
            text: (*text).to_owned(),
        });
    shipped.chain(own).collect()
}

/// Shipped rules that are not in force, because the user's files define them anew: rule and file.
#[must_use]
pub fn replaced(rules: &[RuleText]) -> Vec<(Name, String)> {
    let shipped: BTreeSet<Name> = PACKS
        .iter()
        .flat_map(|(file, text)| names(file, text))
        .collect();
    let own = rules
        .iter()
        .filter(|file| !PACKS.contains(&(&file.file, &file.text)));
    own.flat_map(|file| {
        let names = names(&file.file, &file.text).into_iter();
        names.map(|name| (name, file.file.clone()))
    })
    .filter(|(name, _)| shipped.contains(name))
    .collect()
}

/// The rules of a file; none if it has problems, which `compile` tells.
fn names(file: &str, text: &str) -> Vec<Name> {
    rule::parse(file, text).map_or_else(
        |_| Vec::new(),
        |file| file.rules.into_iter().map(|rule| rule.name).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_the_users_own_takes_the_place_of_a_shipped_one() {
        let text = "{ rule: data-lost, title: mine, severity: info, by: [sensor], limits: [{ gap: 9 in 1h }] }";
        let own = vec![RuleText {
            file: "mine.yaml".into(),
            text: text.into(),
        }];
        let files: Vec<String> = with_own(own).into_iter().map(|file| file.file).collect();
        assert_eq!(files.len(), PACKS.len());
        assert!(!files.contains(&"data-lost.yaml".to_owned()));
        assert_eq!(files.last().map(String::as_str), Some("mine.yaml"));
    }

    #[test]
    fn a_shipped_rule_is_a_file() {
        for (file, text) in PACKS {
            let names = names(file, text);
            assert_eq!(names, [file.trim_end_matches(".yaml").into()], "{file}");
        }
    }

    #[test]
    fn what_is_replaced_is_known() {
        let text = "{ rule: data-lost, title: mine, severity: info, by: [sensor], limits: [{ gap: 9 in 1h }] }";
        let own = RuleText {
            file: "mine.yaml".into(),
            text: text.into(),
        };
        assert_eq!(replaced(&with_own(Vec::new())), []);
        let expected = [("data-lost".into(), "mine.yaml".to_owned())];
        assert_eq!(replaced(&with_own(vec![own])), expected);
    }
}
