//! `gap`: gaps: lost or unseen data.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::Gap,
    subject: Subject::Gap,
    how: How::Add(|seen| seen.amounts.gaps),
    title: "gaps: lost or unseen data",
    doc: "Times that a sensor lost events, went blind, or could not read its input.",
    example: "gap: 1 in 1m",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.gaps = 7, 7);
}
