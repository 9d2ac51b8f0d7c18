//! What the meter counts, frame by frame.

//! Tests.
