//! `exposed-bytes`: bytes sent while holding a store's data.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::ExposedBytes,
    subject: Subject::Expose,
    how: How::Add(|seen| seen.amounts.exposed_bytes),
    title: "bytes sent while holding a store's data",
    doc: "Payload sent to another host by a session that holds data of the store, booked in full to every store it holds, until a day's exposure reaches twice what it holds.",
    example: "exposed-bytes: 100 MB in 10m",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.exposed_bytes = 7, 7);
}
