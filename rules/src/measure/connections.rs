//! `connections`: connections opened.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::Connections,
    subject: Subject::Send,
    how: How::Add(|seen| seen.amounts.connections),
    title: "connections opened",
    doc: "Connections of this host with another, in either direction, counted when they are opened.",
    example: "connections: 10000 in 1h",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.connections = 7, 7);
}
