//! `exposed-records`: patient records that those bytes can be, about.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::ExposedRecords,
    subject: Subject::Expose,
    how: How::Add(|seen| seen.amounts.exposed_records),
    title: "patient records that those bytes can be, about",
    doc: "Records held x min(1, 5 x bytes sent / bytes held): data shrinks up to five times. What went through a staging file counts at its staged size.",
    example: "exposed-records: 10000 in 24h",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.exposed_records = 7, 7);
}
