//! What the path of a cgroup tells: containers and units.

use std::borrow::Cow;

/// How the name of a user's own service manager begins.
pub const MANAGER: &str = "user@";

/// What a cgroup path tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Cgroup<'a> {
    /// Short id of the container of a known runtime.
    pub container: Option<&'a str>,
    /// The last `*.service` or `*.scope` that is not a login's own, behind whatever it lies in but slices: a user's own manager,
    /// a container, another unit. Whoever owns one of these may give any name to what is below.
    pub unit: Option<Cow<'a, str>>,
}

impl<'a> Cgroup<'a> {
    /// Reads a path, empty for the root.
    #[must_use]
    pub fn of(path: &'a str) -> Self {
        let container = path.split('/').find_map(container_id);
        let container = container.map(|id| &id[..12]);
        let parts: Vec<&str> = parts(path).collect();
        let unit = parts.iter().rposition(|part| is_unit(part));
        let unit = unit.map(|last| match last {
            0 => Cow::Borrowed(parts[0]),
            last => Cow::Owned(parts[..=last].join("/")),
        });
        Self { container, unit }
    }
}

/// Whether a unit of this name lies in what a cgroup of this path lies in, or is: whoever is there may name what is below.
#[must_use]
pub fn is_within(unit: &str, path: &str) -> bool {
    let Some((above, _)) = unit.rsplit_once('/') else {
        return false;
    };
    let place = parts(path).collect::<Vec<_>>().join("/");
    let rest = place.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Slices are no places of their own.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter(|part| !part.is_empty() && !part.ends_with(".slice"))
}

fn is_unit(part: &str) -> bool {
    let unit = part.ends_with(".service") || part.ends_with(".scope");
    unit && !part.starts_with("session-") && !part.starts_with(MANAGER) && part != "init.scope"
}

/// The id in a part of a cgroup's path, if it is a container's of a known runtime: `docker-<64 hex>.scope`,
/// `cri-containerd-…`, `crio-…`, `libpod-…`, and cgroupfs's bare `<64 hex>`.
#[must_use]
pub fn container_id(part: &str) -> Option<&str> {
    let id = part.strip_suffix(".scope").unwrap_or(part);
    let id = ["docker-", "cri-containerd-", "crio-", "libpod-"]
        .iter()
        .find_map(|p| id.strip_prefix(p))
        .unwrap_or(id);
    let hex = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_paths() {
        let hex = "0123456789abcdef".repeat(4);
        let docker = format!("/system.slice/docker-{hex}.scope");
        assert_eq!(Cgroup::of(&docker).container, Some("0123456789ab"));
        let pod = format!("/kubepods/burstable/pod1/{hex}");
        assert_eq!(Cgroup::of(&pod).container, Some("0123456789ab"));
        let nested = "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service";
        let unit = |path| Cgroup::of(path).unit.map(Cow::into_owned);
        assert_eq!(
            unit(nested).as_deref(),
            Some("user@1000.service/sync.service")
        );
        let own = "/system.slice/sync.service";
        assert_eq!(unit(own).as_deref(), Some("sync.service"));
        assert_eq!(unit("/user.slice/user-0.slice/session-3.scope"), None);
        assert_eq!(unit("/init.scope"), None);
        let inside = format!("/docker/{hex}/system.slice/sync.service");
        assert_eq!(unit(&inside), Some(format!("docker/{hex}/sync.service")));
        let below = "/system.slice/sync.service/payload";
        assert_eq!(unit(below).as_deref(), Some("sync.service"));
        let other = "/system.slice/apache2.service/sync.service";
        assert_eq!(unit(other).as_deref(), Some("apache2.service/sync.service"));
    }

    #[test]
    fn whoever_is_inside_names_what_is_below() {
        let within = |unit: &str, path: &str| is_within(unit, path);
        let machine = "/machine.slice/systemd-nspawn@a.service/payload/init.scope";
        assert!(within(
            "systemd-nspawn@a.service/payload/b.service",
            machine
        ));
        assert!(within("a.service/b.service", "/system.slice/a.service"));
        assert!(!within("a.service/b.service", "/system.slice/a.service2"));
        assert!(!within("b.service", "/system.slice/a.service"));
        assert!(!within("b.service", ""));
    }
}
