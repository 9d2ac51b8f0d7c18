//! What the agent itself costs, for the `process_*` metrics that every exporter has.

use procfs::process::{LimitValue, Process};

/// The agent's process, as `/proc/self` tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProcessNow {
    pub(super) cpu_seconds: f64,
    pub(super) open_fds: u64,
    pub(super) max_fds: f64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_bytes: u64,
    pub(super) start_seconds: f64,
    pub(super) threads: i64,
}

impl ProcessNow {
    /// Absent where `/proc` does not tell: the metrics are absent then, and the page works.
    pub(super) fn read() -> Option<Self> {
        let process = Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks = procfs::ticks_per_second() as f64;
        let max_fds = match process.limits().ok()?.max_open_files.soft_limit {
            LimitValue::Unlimited => f64::INFINITY,
            LimitValue::Value(limit) => limit as f64,
        };
        Some(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            open_fds: process.fd_count().ok()? as u64,
            max_fds,
            virtual_bytes: stat.vsize,
            resident_bytes: stat.rss * procfs::page_size(),
            start_seconds: procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks,
            threads: stat.num_threads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_itself() {
        let now = ProcessNow::read().expect("/proc is mounted");
        assert!(
            now.open_fds >= 3 && now.max_fds >= now.open_fds as f64,
            "{now:?}"
        );
        assert!(
            now.resident_bytes > 1 << 20 && now.virtual_bytes > now.resident_bytes,
            "{now:?}"
        );
        let wall = crate::clock::wall() as f64 / 1e9;
        assert!(
            (wall - 3_600.0..wall + 10.0).contains(&now.start_seconds),
            "{now:?}"
        );
    }
}
