//! Finds the stores of a host that nobody configured, by where the field's programs keep their data.

use std::path::Path;

use jaga_rules::config::{Records, Store};

/// Where records are by default: Debian's and the projects' own places.
const PLACES: &[(&str, &str, Records)] = &[
    ("orthanc", "/var/lib/orthanc", Records::PerFile(1.0)),
    ("dcm4chee", "/var/local/dcm4chee-arc", Records::PerFile(1.0)),
    ("pacs", "/srv/pacs", Records::PerFile(1.0)),
    ("ekg", "/srv/muse", Records::PerFile(1.0)),
    ("lab", "/srv/lis", Records::BytesEach(3900.0)),
    (
        "postgresql",
        "/var/lib/postgresql",
        Records::BytesEach(240.0),
    ),
    ("mysql", "/var/lib/mysql", Records::BytesEach(240.0)),
    (
        "elasticsearch",
        "/var/lib/elasticsearch",
        Records::BytesEach(240.0),
    ),
];

/// The stores that this host seems to have, marked as guessed.
#[must_use]
pub fn stores() -> Vec<Store> {
    stores_under(Path::new("/"))
}

fn stores_under(root: &Path) -> Vec<Store> {
    let there = PLACES
        .iter()
        .filter(|(_, place, _)| root.join(place.trim_start_matches('/')).is_dir());
    there
        .map(|(name, place, records)| Store {
            name: (*name).into(),
            paths: vec![place.into()],
            records: *records,
            from: Vec::new(),
            guessed: true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_nothing_else() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("var/lib/mysql")).expect("made");
        let names: Vec<String> = stores_under(root.path())
            .iter()
            .map(|store| store.name.to_string())
            .collect();
        assert_eq!(names, ["mysql"]);
    }
}
