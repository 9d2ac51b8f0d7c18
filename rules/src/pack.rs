//! The shipped rules: one file each, with their own tests inside.

/// File name and text, in the order in which they are loaded. A new rule is one line here and its file.
pub const PACKS: &[(&str, &str)] = &[];
