//! `destinations`: distinct remote addresses.

use super::{Definition, How};
use crate::observation::Subject;
use crate::rule::Measure;

/// The measure.
pub const DEFINITION: Definition = Definition {
    measure: Measure::Destinations,
    subject: Subject::Send,
    how: How::Distinct(|seen| seen.remote.map(|remote| remote.ip())),
    title: "distinct remote addresses",
    doc: "Distinct addresses that this host sent payload to, ports aside; 4,096 at most are told apart per key.",
    example: "destinations: 50 in 1h",
};

#[cfg(test)]
#[test]
fn ports_do_not_count() {
    use crate::observation::Observation;
    let How::Distinct(of) = DEFINITION.how else {
        panic!("not distinct")
    };
    let to = |text: &str| {
        let mut seen = Observation::new(Subject::Send);
        seen.remote = text.parse().ok();
        of(&seen)
    };
    assert_eq!(to("203.0.113.9:443"), to("203.0.113.9:80"));
    assert_ne!(to("203.0.113.9:443"), to("203.0.113.10:443"));
}
