//! Reads who somebody is: for contracts, and for readers.

use globset::GlobMatcher;

use super::Who;
use super::glob::{name_glob, path_glob, unit_glob};
use crate::event::Name;
use crate::yaml::At;

/// Programs that do whatever they are told: who names one of them names everybody who may start
/// it, unless the unit or container is named as well. Compared without a version at the end (`python3.11`).
const GENERAL: [&str; 45] = [
    "aria2c",
    "aws",
    "awk",
    "azcopy",
    "bash",
    "busybox",
    "curl",
    "dash",
    "dd",
    "deno",
    "dotnet",
    "fish",
    "ftp",
    "gawk",
    "gsutil",
    "java",
    "ksh",
    "lftp",
    "lua",
    "mc",
    "mosh",
    "nc",
    "ncat",
    "netcat",
    "node",
    "nodejs",
    "openssl",
    "perl",
    "php",
    "pwsh",
    "python",
    "rclone",
    "rsync",
    "ruby",
    "s3cmd",
    "scp",
    "sftp",
    "sftp-server",
    "sh",
    "smbclient",
    "socat",
    "ssh",
    "sshd",
    "tar",
    "wget",
];

/// Reads it; what anybody could be is refused.
pub(super) fn who(at: At<'_>) -> Option<Who> {
    let fields = at.fields("'who'")?;
    let who = Who {
        unit: fields.optional("unit", unit_glob),
        container: fields.optional("container", name_glob),
        exe: fields.optional("exe", path_glob),
        user: fields.optional("user", At::name),
        login: fields.optional("login", At::name),
        ae_title: fields.optional("ae-title", ae_title),
    };
    // A name that nobody has: what matches it matches all.
    let all = |glob: &Option<GlobMatcher>, name: &str| {
        glob.as_ref().is_some_and(|glob| glob.is_match(name))
    };
    let every = [
        ("unit", all(&who.unit, "nobody-is-called-so.service")),
        ("container", all(&who.container, "nobody-is-called-so")),
    ];
    for (field, _) in every.into_iter().filter(|(_, every)| *every) {
        if let Some(at) = fields.field(field) {
            at.wrong::<()>(
                format!("that is every {field}"),
                "name those that are meant, for instance 'restic-*.service'",
            );
        }
    }
    let placed = fields.field("unit").is_some() || fields.field("container").is_some();
    let exe = fields.field("exe");
    fields.end();
    if placed {
        return Some(who);
    }
    let Some(exe) = exe else {
        return at.wrong(
            "anybody could be meant",
            "name a 'unit' or a 'container', or the 'exe'",
        );
    };
    match &who.exe {
        Some(glob) if general(glob) => exe.wrong(
            format!("'{}' does whatever it is told", glob.glob()),
            "name the 'unit' or the 'container' as well",
        ),
        Some(_) => Some(who),
        None => None,
    }
}

/// Reads whose work it is to read files.
pub(super) fn reader(at: At<'_>) -> Option<Who> {
    let who = who(at)?;
    if who.ae_title.is_some() {
        return at.wrong("nobody reads files under an AE title", "remove 'ae-title'");
    }
    Some(who)
}

/// A DICOM application entity title (PS3.5 6.2): blanks around it mean nothing.
pub(super) fn ae_title(at: At<'_>) -> Option<Name> {
    let text = at.text()?.trim();
    let fits = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'\\';
    if (1..=16).contains(&text.len()) && text.bytes().all(fits) {
        Some(text.into())
    } else {
        at.wrong(
            format!("'{text}' is no AE title"),
            "write 1 to 16 letters, digits and signs without '\\', as the modality has it",
        )
    }
}

/// Whether the program is an interpreter or a general tool, or the pattern leaves open which program it is.
fn general(exe: &GlobMatcher) -> bool {
    let pattern = exe.glob().glob();
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    let plain = name.trim_end_matches(|end: char| end.is_ascii_digit() || ".-*?".contains(end));
    name.contains(['*', '?', '[', '{']) && plain.len() < 4
        || pattern.contains("**")
        || GENERAL.contains(&plain)
        || GENERAL
            .iter()
            .any(|tool| exe.is_match(format!("/usr/bin/{tool}")))
}
