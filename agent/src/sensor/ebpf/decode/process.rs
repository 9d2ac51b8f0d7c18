//! Records of process life: made, become a program, ended, already there.

use super::{Fields, take_who};
use crate::sensor::host::seen::{Life, What, actor};

/// Decodes a record; `None` if it is cut or of an unknown kind.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Life> {
    take(&mut Fields(bytes))
}

/// Decodes what the iterator wrote: records one after the other.
#[must_use]
pub fn decode_list(bytes: &[u8]) -> Vec<Life> {
    let mut fields = Fields(bytes);
    std::iter::from_fn(|| take(&mut fields)).collect()
}

fn take(fields: &mut Fields<'_>) -> Option<Life> {
    let kind = fields.u32()?;
    let exe_len = fields.u16()?;
    let cgroup_len = fields.u16()?;
    let who = take_who(fields)?;
    let parent_start = fields.u64()?;
    let parent = actor(fields.u32()?, parent_start);
    let cut = fields.u32()?;
    let exe = path(fields.take(exe_len.into())?, cut & 1 != 0);
    let cgroup = path(fields.take(cgroup_len.into())?, false);
    let what = match kind {
        0 => What::Known { parent, exe },
        1 => What::Fork { parent },
        2 => What::Exec { exe },
        3 => What::Exit,
        4 => What::Regrouped { by: parent },
        _ => return None,
    };
    let tells_cgroup = match what {
        // Too deep to be told: it is looked for by its number.
        What::Known { .. } | What::Exec { .. } | What::Regrouped { .. } => cut & 2 == 0,
        What::Fork { .. } | What::Exit => false,
    };
    Some(Life {
        who,
        what,
        cgroup: tells_cgroup.then_some(cgroup),
    })
}

/// NUL-terminated names, the last one first, as a path; empty for none. A path that is cut at the root's side
/// begins with `…`: it must not look absolute.
fn path(names: &[u8], cut: bool) -> String {
    let names = names.strip_suffix(&[0]).unwrap_or(names);
    if names.is_empty() {
        return String::new();
    }
    let mut path = String::from(if cut { "…" } else { "" });
    for name in names.rsplit(|byte| *byte == 0) {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(name));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bytes, WHO};
    use super::*;

    fn record(kind: u32, cut: u32, exe: &[u8], cgroup: &[u8]) -> Bytes {
        let lengths = |text: &[u8]| u16::try_from(text.len()).unwrap();
        Bytes::default()
            .u32(kind)
            .u16(lengths(exe))
            .u16(lengths(cgroup))
            .who()
            .u64(900_000_000)
            .u32(1)
            .u32(cut)
            .bytes(exe)
            .bytes(cgroup)
    }

    #[test]
    fn an_exec_has_its_paths_the_right_way_round() {
        let life = decode(&record(2, 0, b"tar\0bin\0usr\0", b"x.service\0system.slice\0").0);
        let exe = "/usr/bin/tar".to_owned();
        assert_eq!(
            life,
            Some(Life {
                who: WHO,
                what: What::Exec { exe },
                cgroup: Some("/system.slice/x.service".to_owned()),
            })
        );
    }

    #[test]
    fn a_fork_that_does_not_change_cgroup_tells_none() {
        let life = decode(&record(1, 0, b"", b"").0).unwrap();
        assert_eq!(life.cgroup, None);
        let parent = actor(1, 900_000_000);
        assert_eq!(life.what, What::Fork { parent });
    }

    #[test]
    fn whoever_was_put_into_another_cgroup_has_its_path_and_who_did_it() {
        let life = decode(&record(4, 0, b"", b"x.service\0system.slice\0").0).unwrap();
        let by = actor(1, 900_000_000);
        assert_eq!(life.what, What::Regrouped { by });
        assert_eq!(life.cgroup.as_deref(), Some("/system.slice/x.service"));
    }

    #[test]
    fn the_root_cgroup_is_empty_and_known() {
        let life = decode(&record(2, 0, b"init\0", b"").0).unwrap();
        assert_eq!(life.cgroup.as_deref(), Some(""));
    }

    #[test]
    fn a_cut_path_does_not_look_absolute() {
        let life = decode(&record(2, 1, b"tar\0deep\0", b"").0).unwrap();
        let exe = "…/deep/tar".to_owned();
        assert_eq!(life.what, What::Exec { exe });
    }

    #[test]
    fn a_cut_cgroup_is_not_told() {
        let life = decode(&record(2, 2, b"tar\0", b"").0).unwrap();
        let exe = "/tar".to_owned();
        assert_eq!((life.what, life.cgroup), (What::Exec { exe }, None));
    }

    #[test]
    fn names_that_are_not_utf8_stay_readable() {
        let life = decode(&record(2, 0, b"t\xffr\0", b"").0).unwrap();
        let exe = "/t\u{fffd}r".to_owned();
        assert_eq!(life.what, What::Exec { exe });
    }

    #[test]
    fn every_cut_record_is_refused() {
        let whole = record(0, 0, b"tar\0", b"a\0").0;
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "of {length} bytes");
        }
        assert_eq!(decode(&record(5, 0, b"", b"").0), None);
    }

    #[test]
    fn a_list_is_records_one_after_the_other() {
        let mut bytes = record(0, 0, b"a\0", b"").0;
        bytes.extend(record(0, 0, b"", b"b\0").0);
        let list = decode_list(&bytes);
        assert_eq!(list.len(), 2);
        assert_eq!(list[1].cgroup.as_deref(), Some("/b"));
    }
}
