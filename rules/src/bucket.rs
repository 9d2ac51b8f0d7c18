//! A leaking bucket on the engine's clock: governor's cells, never the system's time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::event::Stamp;

/// The bucket counts in units of so many bytes: in bytes it would drift by a third (its cells are u32).
const RATE_UNIT: u64 = 1024;

/// Sent bytes flow in and leak out at the rate.
#[derive(Debug)]
pub struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, EngineClock, NoOpMiddleware<EngineInstant>>,
    rest: u64,
}

impl Bucket {
    /// A bucket that holds `burst` bytes and leaks `per_second`.
    #[must_use]
    pub fn new(per_second: u64, burst: u64, clock: EngineClock) -> Self {
        let units = |bytes: u64| {
            NonZeroU32::new(u32::try_from(bytes / RATE_UNIT).unwrap_or(u32::MAX))
                .unwrap_or(NonZeroU32::MIN)
        };
        let quota = Quota::per_second(units(per_second)).allow_burst(units(burst));
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock),
            rest: 0,
        }
    }

    /// Pours bytes in; true if they do not fit. More than the whole burst at once never fits.
    pub fn add(&mut self, bytes: u64) -> bool {
        let bytes = bytes.saturating_add(self.rest);
        self.rest = bytes % RATE_UNIT;
        let Some(units) = NonZeroU32::new(u32::try_from(bytes / RATE_UNIT).unwrap_or(u32::MAX))
        else {
            return false;
        };
        !matches!(self.limiter.check_n(units), Ok(Ok(())))
    }
}

/// Governor's clock: the engine's time, never the system's.
#[derive(Debug, Clone, Default)]
pub struct EngineClock(Arc<AtomicU64>);

impl EngineClock {
    /// Stamps may be negative (restored from before a boot), governor's instants may not.
    pub fn set(&self, at: Stamp) {
        self.0.store(
            at.0.wrapping_sub(i64::MIN / 2).max(0).cast_unsigned(),
            Ordering::Relaxed,
        );
    }
}

impl Clock for EngineClock {
    type Instant = EngineInstant;

    fn now(&self) -> EngineInstant {
        EngineInstant(self.0.load(Ordering::Relaxed))
    }
}

/// A moment of the engine's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineInstant(u64);

impl std::ops::Add<Nanos> for EngineInstant {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.as_u64()))
    }
}

impl Reference for EngineInstant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, nanos: Nanos) -> Self {
        Self(self.0.saturating_sub(nanos.as_u64()))
    }
}
