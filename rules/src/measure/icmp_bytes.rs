//! `icmp-bytes`: ICMP payload that is no repetition.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::IcmpBytes,
    subject: Subject::Icmp,
    how: How::Add(|seen| seen.amounts.icmp_bytes),
    title: "ICMP payload that is no repetition",
    doc: "Payload of ICMP messages sent whose content, but for the first 32 bytes, was not sent lately: a ping repeats itself, a tunnel does not.",
    example: "icmp-bytes: 16 KB in 1h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.icmp_bytes = 2, 2);
}
