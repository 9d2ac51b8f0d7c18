//! `dicom-stores`: DICOM objects that shall be taken.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::DicomStores,
    subject: Subject::Medical,
    how: How::Add(|seen| seen.amounts.dicom_stores),
    title: "DICOM objects that shall be taken",
    doc: "C-STORE requests of associations of this host, in either direction.",
    example: "dicom-stores: 10000 in 24h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.dicom_stores = 2, 2);
}
