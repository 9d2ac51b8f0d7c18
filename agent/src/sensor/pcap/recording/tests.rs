//! What a recording tells: whole, cut, corrupt.

//! Tests.
