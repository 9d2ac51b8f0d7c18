//! Sizes, durations and rates as users write them.
