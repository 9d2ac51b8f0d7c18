//! `hl7-messages`: HL7 messages that left.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::Hl7Messages,
    subject: Subject::Medical,
    how: How::Add(|seen| seen.amounts.hl7_messages),
    title: "HL7 messages that left",
    doc: "HL7 messages that this host sent in MLLP frames, acknowledgements not among them.",
    example: "hl7-messages: 10000 in 24h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.hl7_messages = 2, 2);
}
