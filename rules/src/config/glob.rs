//! Reads the globs that users select units, programs, users and sessions by.

use globset::{GlobBuilder, GlobMatcher};

use crate::yaml::At;

/// A longer pattern is refused: nothing that it selects has a name that long, and compiling it takes memory.
const LONGEST: usize = 256;

/// A glob over names without structure (users, sessions): `*` crosses everything.
pub fn name_glob(at: At<'_>) -> Option<GlobMatcher> {
    compiled(at, false)
}

/// A glob over program paths: absolute, and `*` stays within one directory.
pub fn path_glob(at: At<'_>) -> Option<GlobMatcher> {
    let text = at.text()?;
    if !text.starts_with(['/', '*']) {
        let message = format!("'{text}' is no path of a program");
        return at.wrong(
            message,
            format!("write it in full, for instance '/usr/bin/{text}'"),
        );
    }
    compiled(at, true)
}

/// A glob over unit names; systemd's last suffix must be there, since the cgroup path has it.
pub fn unit_glob(at: At<'_>) -> Option<GlobMatcher> {
    let text = at.text()?;
    if !text.ends_with(".service") && !text.ends_with(".scope") {
        let message = format!("'{text}' is no unit of processes");
        return at.wrong(
            message,
            format!("write it with its suffix, for instance '{text}.service'"),
        );
    }
    compiled(at, true)
}

fn compiled(at: At<'_>, literal_separator: bool) -> Option<GlobMatcher> {
    let text = at.text()?;
    if text.len() > LONGEST {
        return at.wrong(
            format!("pattern is longer than {LONGEST} bytes"),
            "shorten it",
        );
    }
    match GlobBuilder::new(text)
        .literal_separator(literal_separator)
        .build()
    {
        Ok(glob) => Some(glob.compile_matcher()),
        Err(error) => at.wrong(
            format!("'{text}' is no pattern: {}", error.kind()),
            "use '*', '?', '[a-z]' and '{a,b}'",
        ),
    }
}
