//! `devices-opened`: opens of device nodes that data can leave by.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::DevicesOpened,
    subject: Subject::Device,
    how: How::Add(|seen| seen.amounts.devices_opened),
    title: "device nodes opened by holders",
    doc: "Opens of USB devices (phones by MTP), SCSI generic devices (burners, disks), tapes and printers by a session that holds \
          data of a store, or serves it. How much goes there is not seen.",
    example: "devices-opened: 1 in 1h",
};

#[cfg(test)]
#[test]
fn it_counts_only_that() {
    super::check(&DEFINITION, |amounts| amounts.devices_opened = 2, 2);
}
