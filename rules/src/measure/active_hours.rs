//! `active-hours`: hours in which a holder sent something.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::ActiveHours,
    subject: Subject::Expose,
    how: How::Hours,
    title: "hours in which a holder sent something",
    doc: "Hours since the host's start in which a session sent at least one byte to another host while it held data of a store, \
          however little: a connection that stays open, or one that is made again and again.",
    example: "active-hours: 20 in 24h",
};
