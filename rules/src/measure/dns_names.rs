//! `dns-names`: distinct names looked up.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::DnsNames,
    subject: Subject::Lookup,
    how: How::Add(|seen| seen.amounts.dns_names),
    title: "distinct names looked up",
    doc: "Names that this host looked up and had not looked up lately, below a registrable domain (public suffix list).",
    example: "dns-names: 100 in 1h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.dns_names = 2, 2);
}
