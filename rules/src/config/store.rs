//! Reads and writes the `stores` of a configuration.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::file::absolute;
use super::{FILE, Records, Store, Target};
use crate::event::Name;
use crate::units::Bytes;
use crate::yaml::{At, Kind, documents};

/// Stores of a host; each brings a dozen series.
const STORE_LIMIT: usize = 32;

/// A name that becomes a label: lower-case letters, digits, `-`, `_` and `.`.
pub(super) fn label(at: At<'_>) -> Option<Name> {
    let text = at.text()?;
    match label_of(text) {
        Ok(name) => Some(name),
        Err(error) => at.refuse(&error, "write another name"),
    }
}

/// A text as such a name.
///
/// # Errors
/// It cannot be one; with the next step after a semicolon.
pub fn label_of(text: &str) -> Result<Name, String> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if text.len() <= 64 && text.bytes().all(fits) {
        Ok(text.into())
    } else {
        Err(format!(
            "'{text}' cannot be a name; use lower-case letters, digits, '-', '_' and '.', at most 64"
        ))
    }
}

pub(super) fn store(at: At<'_>) -> Option<Store> {
    let fields = at.fields("a store")?;
    let name = fields.required("name", label);
    let from = fields.optional("from", |at| at.list(remote));
    let paths = match fields.field("from") {
        Some(_) => fields.optional("paths", paths).or(Some(Vec::new())),
        None => fields.required("paths", paths),
    };
    let records = fields.optional("records", records);
    let guessed = fields.optional("guessed", |at| {
        at.word("answer", &[("true", true), ("false", false)])
    });
    fields.end();
    Some(Store {
        name: name?,
        paths: paths?,
        from: from.unwrap_or_default(),
        records: records.unwrap_or(Records::PerFile(1.0)),
        guessed: guessed.unwrap_or(false),
    })
}

/// Where a remote store answers from. Every address is refused: then whatever comes in would be store data.
fn remote(at: At<'_>) -> Option<Target> {
    let target: Target = at.parse()?;
    if target.net.prefix_len() == 0 {
        return at.wrong(
            format!("'{}' makes all that comes in store data", target.net),
            "name the server that has the data, such as '10.0.0.7:5432'",
        );
    }
    Some(target)
}

fn paths(at: At<'_>) -> Option<Vec<PathBuf>> {
    let paths = at.list(|at| {
        let path = absolute(at)?;
        if path == Path::new("/") {
            return at.wrong(
                "a store cannot be the whole file system",
                "give the directory that holds the data",
            );
        }
        Some(path)
    })?;
    if at.items().is_empty() {
        return at.wrong(
            "a store needs a path",
            "give the directory that holds the data",
        );
    }
    Some(paths)
}

fn records(at: At<'_>) -> Option<Records> {
    let fields = at.fields("'records'")?;
    fields.not_built("match", "remove it: every file counts as 'per-file' says");
    let per_file = fields.optional("per-file", positive);
    let each = fields.optional("bytes-each", |at| {
        if at.text()?.ends_with(|end: char| end.is_ascii_digit()) {
            positive(at)
        } else {
            at.parse()
                .and_then(|Bytes(bytes)| at_least_one(at, bytes as f64))
        }
    });
    let given = fields.field("per-file").is_some() || fields.field("bytes-each").is_some();
    let both = fields.field("per-file").is_some() && fields.field("bytes-each").is_some();
    fields.end();
    if both || !given {
        return at.wrong(
            "'records' needs either 'per-file' or 'bytes-each'",
            "write for instance '{ per-file: 1 }'",
        );
    }
    per_file
        .map(Records::PerFile)
        .or(each.map(Records::BytesEach))
}

/// A finite number above 0.
fn positive(at: At<'_>) -> Option<f64> {
    let text = at.text()?;
    let number = text.parse::<f64>().ok();
    match number.filter(|number| (1e-9..=1e15).contains(number)) {
        Some(number) => Some(number),
        None => at.wrong(
            format!("'{text}' is no number above 0"),
            "write for instance '1' or '0.5'",
        ),
    }
}

fn at_least_one(at: At<'_>, number: f64) -> Option<f64> {
    if number >= 1.0 {
        Some(number)
    } else {
        at.wrong(
            "a record has at least one byte",
            "write for instance '3900'",
        )
    }
}

/// What is wrong with stores only together: two of one name, paths inside each other, too many.
pub(super) fn check(at: At<'_>, stores: &[Store]) {
    if stores.len() > STORE_LIMIT {
        at.wrong::<()>(
            format!("more than {STORE_LIMIT} stores"),
            "give one store several paths",
        );
        return;
    }
    let items = at.items();
    // Places agree only if every item could be read; what could not be has a problem of its own.
    for (place, (store, item)) in stores
        .iter()
        .zip(&items)
        .enumerate()
        .filter(|_| items.len() == stores.len())
    {
        for other in &stores[..place] {
            if other.name == store.name {
                item.wrong::<()>(
                    format!("a second store '{}'", store.name),
                    "give it a name of its own",
                );
            }
            if let Some((path, outer)) = overlap(store, other) {
                item.wrong::<()>(
                    format!(
                        "'{}' overlaps '{}' of store '{}'",
                        path.display(),
                        outer.display(),
                        other.name
                    ),
                    "a byte belongs to one store: separate the paths",
                );
            }
        }
    }
}

fn overlap<'s>(store: &'s Store, other: &'s Store) -> Option<(&'s PathBuf, &'s PathBuf)> {
    let pairs = store
        .paths
        .iter()
        .flat_map(|path| other.paths.iter().map(move |outer| (path, outer)));
    pairs
        .into_iter()
        .find(|(path, outer)| path.starts_with(outer) || outer.starts_with(path))
}

/// Stores as a `stores:` entry of `jaga.yaml`.
#[must_use]
pub fn render_stores(stores: &[Store]) -> String {
    if stores.is_empty() {
        return "stores: []\n".to_owned();
    }
    let mut text = "stores:\n".to_owned();
    for store in stores {
        let paths: Vec<String> = store
            .paths
            .iter()
            .map(|path| quoted(&path.to_string_lossy()))
            .collect();
        let records = match store.records {
            Records::PerFile(number) => format!("per-file: {number}"),
            Records::BytesEach(number) => format!("bytes-each: {number}"),
        };
        let from: Vec<String> = store.from.iter().map(ToString::to_string).collect();
        let from = match from.is_empty() {
            true => String::new(),
            false => format!(" from: [{}],", from.join(", ")),
        };
        let guessed = if store.guessed { ", guessed: true" } else { "" };
        let (name, paths) = (&store.name, paths.join(", "));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  - {{ name: {name},{from} paths: [{paths}], records: {{ {records} }}{guessed} }}"
        );
    }
    text
}

/// A double-quoted YAML scalar.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            // Also what turns the direction of a text, which shows another than there is.
            control if control.is_control() || is_format(control) => {
                let _ = write!(out, "\\U{:08x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Signs that are not seen and change how others are.
#[must_use]
pub fn is_format(sign: char) -> bool {
    matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The configuration `text` with `stores: auto` (written, or left out) replaced by these stores: what goes on a
/// tape must not depend on what the next host finds. Text that is no configuration comes back as it is.
#[must_use]
pub fn with_stores(text: &str, stores: &[Store]) -> String {
    let rendered = render_stores(stores);
    let (documents, problems) = documents(FILE, text);
    let entries = match documents.first().map(|node| &node.kind) {
        Some(Kind::Map(entries)) if problems.is_empty() => entries.as_slice(),
        Some(Kind::Empty) | None if problems.is_empty() => {
            return format!("{}\n{rendered}", text.trim_end_matches("---"));
        }
        Some(_) | None => return text.to_owned(),
    };
    let auto = entries
        .iter()
        .find(|(key, _)| key.kind == Kind::Scalar("stores".to_owned()));
    match auto {
        Some((key, value)) if value.kind == Kind::Scalar("auto".to_owned()) => {
            let flow = rendered.trim_end();
            format!(
                "{}{flow}{}",
                &text[..key.span.start],
                &text[value.span.end..]
            )
        }
        Some(_) => text.to_owned(),
        // Before the first key: what stands behind the last may be a comment or the end of the document.
        None => match entries.first() {
            Some((key, _)) if !text[..key.span.start].ends_with(['{', ' ', ',']) => {
                let (before, rest) = text.split_at(key.span.start);
                format!("{before}{rendered}{rest}")
            }
            Some(_) | None => text.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn found() -> Vec<Store> {
        let store = |name: &str, path: &str, records| Store {
            name: name.into(),
            paths: vec![path.into()],
            from: Vec::new(),
            records,
            guessed: true,
        };
        vec![
            store(
                "orthanc",
                "/var/lib/orthanc/db \"v6\"\n",
                Records::PerFile(1.0),
            ),
            store("mysql", "/var/lib/mysql", Records::BytesEach(240.5)),
        ]
    }

    #[track_caller]
    fn check(text: &str) {
        let with = with_stores(text, &found());
        let config = parse(FILE, &with).unwrap_or_else(|problems| panic!("{problems}\n{with}"));
        assert_eq!(config.stores, found(), "{with}");
        assert!(!config.agent.discover);
        assert_eq!(
            with_stores(&with, &[]),
            with,
            "stores were replaced a second time"
        );
    }

    #[test]
    fn found_stores_take_the_place_of_auto() {
        check("");
        check("# nothing yet");
        check("site: a");
        check("site: a # no newline\n\n");
        check("stores: auto");
        check("site: a\nstores:   auto # look\nmetrics: off\n");
        check("site: a\nstores: auto\n...\n");
        check("# c\n---\nsite: a\n...\n");
    }

    #[test]
    fn no_stores_found_is_said_as_well() {
        let with = with_stores("stores: auto\n", &[]);
        assert_eq!(with, "stores: []\n");
    }
}
