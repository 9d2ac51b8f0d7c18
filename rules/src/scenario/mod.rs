//! The scenario language: a leak or a normal day in a few lines, run in virtual time.
