//! `decoy-touched`: opens of decoys.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::DecoyTouched,
    subject: Subject::Decoy,
    how: How::Add(|seen| seen.amounts.decoys_touched),
    title: "opens of decoys",
    doc: "Opens of files that nobody has a reason to open (`decoys:`), whether they were read or not.",
    example: "decoy-touched: 1 in 1m",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.decoys_touched = 2, 2);
}
