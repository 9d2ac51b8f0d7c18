//! The measures: one file each, and one line in the table.

use std::net::IpAddr;

use crate::observation::{Observation, Subject};
use crate::rule::Measure;

mod active_hours;
mod connections;
mod decoy_touched;
mod destinations;
mod devices_opened;
mod dicom_moves;
mod dicom_stores;
mod dns_name_bytes;
mod dns_names;
mod exposed_bytes;
mod exposed_records;
mod files_read;
mod first_seen;
mod gap;
mod hl7_messages;
mod icmp_bytes;
mod media_bytes;
mod memory_read;
mod rate;
mod read_bytes;
mod rewritten_bytes;
mod sent_bytes;
mod served_bytes;
mod unattributed_bytes;

/// Every measure, in the order of `Measure`.
pub const MEASURES: &[Definition] = &[
    sent_bytes::DEFINITION,
    exposed_bytes::DEFINITION,
    exposed_records::DEFINITION,
    served_bytes::DEFINITION,
    read_bytes::DEFINITION,
    files_read::DEFINITION,
    destinations::DEFINITION,
    connections::DEFINITION,
    rate::DEFINITION,
    gap::DEFINITION,
    unattributed_bytes::DEFINITION,
    rewritten_bytes::DEFINITION,
    decoy_touched::DEFINITION,
    dns_name_bytes::DEFINITION,
    dns_names::DEFINITION,
    icmp_bytes::DEFINITION,
    media_bytes::DEFINITION,
    memory_read::DEFINITION,
    dicom_moves::DEFINITION,
    dicom_stores::DEFINITION,
    hl7_messages::DEFINITION,
    first_seen::DEFINITION,
    active_hours::DEFINITION,
    devices_opened::DEFINITION,
];

/// A measure: what it counts, of which observations, and what a human is told about it.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Which.
    pub measure: Measure,
    /// What it is counted on, unless the rule groups or selects by store (then on `Expose`).
    pub subject: Subject,
    /// How it is counted.
    pub how: How,
    /// A few words.
    pub title: &'static str,
    /// A sentence or two.
    pub doc: &'static str,
    /// A limit as in a rule file.
    pub example: &'static str,
}

/// How a measure counts.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// Amounts add up over a window.
    Add(fn(&Observation) -> u64),
    /// Distinct things over a window.
    Distinct(fn(&Observation) -> Option<IpAddr>),
    /// Amounts flow into a leaking bucket.
    Rate(fn(&Observation) -> u64),
    /// Hours in which there was anything.
    Hours,
}

/// The definition of a measure.
#[must_use]
pub fn definition(measure: Measure) -> &'static Definition {
    &MEASURES[measure as usize]
}

#[cfg(test)]
fn check(definition: &Definition, set: impl Fn(&mut crate::observation::Amounts), expected: u64) {
    let (How::Add(of) | How::Rate(of)) = definition.how else {
        panic!("not a sum")
    };
    let mut seen = Observation::new(definition.subject);
    assert_eq!(of(&seen), 0);
    set(&mut seen.amounts);
    assert_eq!(of(&seen), expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, definition) in MEASURES.iter().enumerate() {
            assert_eq!(definition.measure as usize, index, "{}", definition.title);
        }
    }
}
