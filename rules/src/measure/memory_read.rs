//! `memory-read`: reads of the memory of who holds or serves a store.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::MemoryRead,
    subject: Subject::Memory,
    how: How::Add(|seen| seen.amounts.memory_reads),
    title: "reads of the memory of who holds or serves a store",
    doc: "Times that a process of another session got at the memory of one that holds data of the store or serves it: ptrace, process_vm_readv, /proc/PID/mem.",
    example: "memory-read: 1 in 1m",
};

#[cfg(test)]
#[test]
fn counts() {
    super::check(&DEFINITION, |amounts| amounts.memory_reads = 2, 2);
}
