//! Whether a process is who the configuration says.

use globset::GlobMatcher;

use crate::config::Who;
use crate::event::Name;
use crate::lineage::Member;
use crate::names::{NOBODY, NameId, Names};

/// Whether a process is who is written: everything that is named must hold. Who names nothing is nobody.
#[must_use]
pub fn is_who(who: &Who, names: &Names, member: &Member) -> bool {
    let text = |id: NameId| (id != NOBODY).then(|| names.text(id));
    let glob = |glob: &Option<GlobMatcher>, id| {
        glob.as_ref()
            .is_none_or(|glob| text(id).is_some_and(|name| glob.is_match(&**name)))
    };
    let name = |name: &Option<Name>, id| name.as_ref().is_none_or(|name| text(id) == Some(name));
    let anybody = who.unit.is_none()
        && who.container.is_none()
        && who.exe.is_none()
        && who.user.is_none()
        && who.login.is_none();
    !anybody
        && glob(&who.unit, member.unit)
        && glob(&who.container, member.container)
        && glob(&who.exe, member.exe)
        && name(&who.user, member.user)
        && name(&who.login, member.login)
}
