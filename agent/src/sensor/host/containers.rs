//! Names of containers, as their runtimes wrote them down: a cgroup tells an id only, and nobody knows a container by it.

use std::fs;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use jaga_rules::cgroup::container_id;
use jaga_rules::event::Name;
use serde_json::Value;

/// Containers remembered; at the limit all are forgotten and looked up again.
const LIMIT: usize = 4096;

/// Names by id, as far as they were needed; `None` where no runtime knows it.
#[derive(Debug)]
pub struct Containers {
    root: PathBuf,
    known: HashMap<String, Option<Name>>,
}

impl Containers {
    /// As written down below this root.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: HashMap::new(),
        }
    }

    /// The name of the container that this cgroup belongs to, if it is one's and its runtime told it.
    pub fn name(&mut self, cgroup: &str) -> Option<Name> {
        let id = cgroup.split('/').find_map(container_id)?;
        if let Some(name) = self.known.get(id) {
            return name.clone();
        }
        let name = RUNTIMES.iter().find_map(|name_of| name_of(&self.root, id));
        let name = name.map(Name::from);
        if self.known.len() >= LIMIT {
            self.known.clear();
        }
        self.known.insert(id.to_owned(), name.clone());
        name
    }
}

type NameOf = fn(&Path, &str) -> Option<String>;

const RUNTIMES: [NameOf; 4] = [docker, podman, crio, containerd];

/// `Name` of `config.v2.json`, with a slash before it.
fn docker(root: &Path, id: &str) -> Option<String> {
    let folder = root.join("var/lib/docker/containers").join(id);
    let config = json(&folder.join("config.v2.json"))?;
    Some(config["Name"].as_str()?.trim_start_matches('/').to_owned())
}

/// `names` of the storage's list of containers.
fn podman(root: &Path, id: &str) -> Option<String> {
    let list = json(&root.join("var/lib/containers/storage/overlay-containers/containers.json"))?;
    let container = list
        .as_array()?
        .iter()
        .find(|container| container["id"] == id)?;
    Some(container["names"][0].as_str()?.to_owned())
}

/// The name in its pod, as an annotation of the runtime's `config.json` (CRI-O).
fn crio(root: &Path, id: &str) -> Option<String> {
    let folder = root
        .join("run/containers/storage/overlay-containers")
        .join(id);
    let config = json(&folder.join("userdata/config.json"))?;
    annotation(&config, &["io.kubernetes.container.name"])
}

/// The same of containerd, whose folder is by namespace: of Kubernetes, or of nerdctl.
fn containerd(root: &Path, id: &str) -> Option<String> {
    let tasks = root.join("run/containerd/io.containerd.runtime.v2.task");
    let mut folders: Vec<PathBuf> = fs::read_dir(tasks)
        .ok()?
        .flatten()
        .map(|entry| entry.path().join(id))
        .collect();
    folders.sort();
    let names = ["io.kubernetes.cri.container-name", "nerdctl/name"];
    folders
        .iter()
        .find_map(|folder| annotation(&json(&folder.join("config.json"))?, &names))
}

fn annotation(config: &Value, names: &[&str]) -> Option<String> {
    let annotations = &config["annotations"];
    let found = names.iter().find_map(|name| annotations[*name].as_str());
    found.map(str::to_owned)
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> String {
        "0123456789abcdef".repeat(4)
    }

    #[track_caller]
    fn check(cgroup: &str, file: &str, text: &str, expected: Option<&str>) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file.replace("ID", &id()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("ID", &id())).unwrap();
        let mut containers = Containers::new(root.path());
        let cgroup = cgroup.replace("ID", &id());
        for _ in 0..2 {
            assert_eq!(containers.name(&cgroup).as_deref(), expected);
        }
    }

    #[test]
    fn each_runtime_tells_its_containers_name() {
        check(
            "/system.slice/docker-ID.scope",
            "var/lib/docker/containers/ID/config.v2.json",
            r#"{"ID":"ID","Name":"/orthanc"}"#,
            Some("orthanc"),
        );
        check(
            "/machine.slice/libpod-ID.scope/container",
            "var/lib/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"x","names":["other"]},{"id":"ID","names":["mirth"]}]"#,
            Some("mirth"),
        );
        check(
            "/kubepods.slice/crio-ID.scope",
            "run/containers/storage/overlay-containers/ID/userdata/config.json",
            r#"{"annotations":{"io.kubernetes.container.name":"pacs"}}"#,
            Some("pacs"),
        );
        check(
            "/kubepods/burstable/pod1/ID",
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            r#"{"annotations":{"io.kubernetes.cri.container-name":"fhir"}}"#,
            Some("fhir"),
        );
    }

    #[test]
    fn what_no_runtime_wrote_has_no_name() {
        check("/system.slice/docker-ID.scope", "else", "", None);
        check(
            "/system.slice/docker-ID.scope",
            "var/lib/docker/containers/ID/config.v2.json",
            "{",
            None,
        );
        check("/system.slice/ssh.service", "else", "", None);
    }
}
