//! The alerts that Prometheus makes of the metrics (packaging/prometheus/jaga.rules.yml), to be explained like our own.

use std::fmt::Write;

use jaga_rules::problem::Problems;
use jaga_rules::yaml::{At, Reader};

/// Where the package puts the file.
pub(super) const PLACE: &str = "/usr/share/jaga/prometheus/jaga.rules.yml";

const RULES: &str = include_str!("../../../../packaging/prometheus/jaga.rules.yml");

/// An alerting rule of Prometheus, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scraped {
    pub(super) name: String,
    expr: String,
    hold: Option<String>,
    severity: Option<String>,
    pub(super) summary: String,
    advice: String,
}

/// All of the shipped file, in its order.
pub(super) fn all() -> Vec<Scraped> {
    read().unwrap_or_default()
}

fn read() -> Result<Vec<Scraped>, Problems> {
    let files = Reader::read(PLACE, RULES, |at| {
        let groups = at.fields("rules of Prometheus")?;
        groups.required("groups", |at| at.list(group))
    })?;
    Ok(files.into_iter().flatten().flatten().collect())
}

fn group(at: At<'_>) -> Option<Vec<Scraped>> {
    at.fields("a group")?
        .required("rules", |at| at.list(scraped))
}

fn scraped(at: At<'_>) -> Option<Scraped> {
    let text = |at: At<'_>| at.text().map(str::to_owned);
    let rule = at.fields("an alert")?;
    let notes = rule.required("annotations", |at| at.fields("annotations"))?;
    Some(Scraped {
        name: rule.required("alert", text)?,
        expr: rule.required("expr", text)?,
        hold: rule.optional("for", text),
        severity: rule.optional("labels", |at| {
            at.fields("labels")?.optional("severity", text)
        }),
        summary: notes.required("summary", text)?,
        advice: notes.required("advice", text)?,
    })
}

/// What it is, as Markdown.
pub(super) fn text(scraped: &Scraped) -> String {
    let Scraped {
        name,
        expr,
        summary,
        advice,
        ..
    } = scraped;
    // Writing to a String cannot fail.
    let mut text = format!("# {name}\n\nAn alert that Prometheus makes of the metrics ({PLACE}).");
    if let Some(severity) = &scraped.severity {
        let _ = write!(text, " Severity {severity}.");
    }
    let _ = write!(text, "\n\nIt fires when `{expr}`");
    if let Some(hold) = &scraped.hold {
        let _ = write!(text, " for {hold}");
    }
    let _ = write!(text, ", and says: {summary}\n\n## What to do\n\n{advice}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_of_the_file_is_read() {
        let read = read().unwrap();
        assert_eq!(read.len(), RULES.matches("- alert: ").count());
        assert!(read.len() > 5);
    }
}
