//! `dicom-moves`: requests to send DICOM objects elsewhere.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::DicomMoves,
    subject: Subject::Medical,
    how: How::Add(|seen| seen.amounts.dicom_moves),
    title: "requests to send DICOM objects elsewhere",
    doc: "C-MOVE requests that came to this host, by the title (AE) that the objects shall go to.",
    example: "dicom-moves: 1 in 24h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.dicom_moves = 2, 2);
}
