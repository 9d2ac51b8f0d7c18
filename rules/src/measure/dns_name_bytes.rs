//! `dns-name-bytes`: text of distinct names looked up.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::DnsNameBytes,
    subject: Subject::Lookup,
    how: How::Add(|seen| seen.amounts.dns_name_bytes),
    title: "text of distinct names looked up",
    doc: "Text of names that this host looked up and had not looked up lately, without the registrable domain (public suffix list): what a tunnel carries.",
    example: "dns-name-bytes: 2 KB in 1h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.dns_name_bytes = 2, 2);
}
