//! `first-seen`: things that were not seen in the last 30 days.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::FirstSeen,
    subject: Subject::First,
    how: How::Add(|seen| seen.amounts.first_seen),
    title: "things that were not seen in the last 30 days",
    doc: "Destinations that store data leaves to, programs and users that read a store, ports of data services that answer, titles that DICOM objects shall go to; what of it is chosen by `where: { first: … }`. In the first week after jaga was installed only ports are told.",
    example: "first-seen: 1 in 1h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.first_seen = 2, 2);
}
