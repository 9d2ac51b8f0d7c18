//! `media-bytes`: bytes that holders wrote to removable media.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::MediaBytes,
    subject: Subject::Medium,
    how: How::Add(|seen| seen.amounts.media_bytes),
    title: "bytes that holders wrote to removable media",
    doc: "Bytes written to file systems on a removable disk or FUSE, or on a disk or share that came while the agent ran, while holding data of a store; booked to each store that is held.",
    example: "media-bytes: 5 MB in 24h",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.media_bytes = 2, 2);
}
