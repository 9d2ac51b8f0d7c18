//! Bytes that wait for their counterpart, and for how long.

/// Bytes that wait for their counterpart, in two ages.
#[derive(Debug, Default, Clone, Copy)]
pub struct Aging {
    young: u64,
    old: u64,
}

impl Aging {
    /// More of them.
    pub const fn add(&mut self, bytes: u64) {
        self.young = self.young.saturating_add(bytes);
    }

    /// Takes up to `wanted`, the oldest first; returns what was not there.
    pub fn meet(&mut self, wanted: u64) -> u64 {
        let old = self.old.min(wanted);
        let young = self.young.min(wanted - old);
        self.old -= old;
        self.young -= young;
        wanted - old - young
    }

    /// Everything is an age older; returns what has waited long enough.
    pub const fn age(&mut self) -> u64 {
        let waited = self.old;
        self.old = self.young;
        self.young = 0;
        waited
    }

    /// Whether nothing waits.
    pub const fn is_empty(self) -> bool {
        self.young == 0 && self.old == 0
    }
}
