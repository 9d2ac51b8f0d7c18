//! `jaga explain`: what a rule, a measure, a metric or an alert is, an example, and what to do.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use jaga_rules::event::RuleText;
use jaga_rules::measure::{Definition, MEASURES};
use jaga_rules::rule::{self, KeyField, Measure, Rule};
use jaga_rules::scenario::RuleTest;
use jaga_rules::units::Span;
use jaga_rules::yaml::nearest;

use super::USAGE;
use crate::metrics::explained;
use crate::output::alert_name;
use crate::setup;

mod scraped;

/// Arguments of `jaga explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of a rule, a measure, a metric or an alert; none = what there is to explain.
    #[arg(value_name = "RULE|MEASURE|METRIC|ALERT")]
    pub name: Option<String>,
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let rules = match setup::rule_texts(&args.config) {
        Ok(rules) => rules,
        Err(trouble) => {
            eprintln!("jaga: {trouble}");
            return ExitCode::from(trouble.status());
        }
    };
    let told = match &args.name {
        Some(name) => explain(name, &rules),
        None => Ok(list(&rules)),
    };
    match told {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            eprintln!("jaga: {trouble}");
            ExitCode::from(USAGE)
        }
    }
}

/// What `name` is, as Markdown.
fn explain(name: &str, files: &[RuleText]) -> Result<String, String> {
    let rules = rules(files);
    let is_named = |rule: &Rule| *rule.name == *name || alert_name(&rule.name) == name;
    let own = rules.iter().find(|(rule, _)| is_named(rule));
    let own = own.map(|(rule, tests)| rule_text(rule, tests));
    let scraped = scraped::all().into_iter().find(|alert| alert.name == name);
    let scraped = scraped.as_ref().map(scraped::text);
    // Prometheus may watch for the same under the same name.
    let alerts: Vec<String> = own.into_iter().chain(scraped).collect();
    if !alerts.is_empty() {
        return Ok(alerts.join("\n"));
    }
    if let Some(measure) = MEASURES
        .iter()
        .find(|measure| measure.measure.name() == name)
    {
        return Ok(measure_text(measure, &rules));
    }
    if let Some(metric) = explained().find(|(metric, ..)| *metric == name) {
        return Ok(metric_text(metric));
    }
    Err(unknown(name, &rules))
}

/// All rules that can be read, with their tests. What cannot be read is for `jaga check` to say.
fn rules(files: &[RuleText]) -> Vec<(Rule, Vec<RuleTest>)> {
    let read = files
        .iter()
        .filter_map(|file| rule::parse(&file.file, &file.text).ok());
    let with_tests = |file: rule::RuleFile| {
        let tests = file.tests;
        let of = move |rule: Rule| {
            let own = tests
                .iter()
                .filter(|test| test.rule == rule.name)
                .cloned()
                .collect();
            (rule, own)
        };
        file.rules.into_iter().map(of)
    };
    read.flat_map(with_tests).collect()
}

fn unknown(name: &str, rules: &[(Rule, Vec<RuleTest>)]) -> String {
    let scraped = scraped::all();
    let own = rules.iter().map(|(rule, _)| alert_name(&rule.name));
    let alerts: Vec<String> = own
        .chain(scraped.into_iter().map(|alert| alert.name))
        .collect();
    let known = rules
        .iter()
        .map(|(rule, _)| &*rule.name)
        .chain(MEASURES.iter().map(|measure| measure.measure.name()))
        .chain(explained().map(|(metric, ..)| metric))
        .chain(alerts.iter().map(String::as_str));
    match nearest(name, &known.collect::<Vec<_>>()) {
        Some(near) => format!("nothing is called '{name}'; did you mean '{near}'?"),
        None => format!("nothing is called '{name}'; 'jaga explain' alone lists what there is"),
    }
}

// Writing to a String cannot fail: the results of `writeln!` below say nothing.

fn list(files: &[RuleText]) -> String {
    let mut text = "# Rules\n\n".to_owned();
    for (rule, _) in rules(files) {
        let _ = writeln!(text, "{:42} {}", rule.name, rule.title);
    }
    text += "\n# Measures\n\n";
    for measure in MEASURES {
        let _ = writeln!(text, "{:42} {}", measure.measure.name(), measure.title);
    }
    text += "\n# Metrics\n\n";
    for (metric, help, _) in explained() {
        let _ = writeln!(text, "{metric:42} {help}");
    }
    let _ = write!(text, "\n# Alerts of Prometheus ({})\n\n", scraped::PLACE);
    for alert in scraped::all() {
        let _ = writeln!(text, "{:42} {}", alert.name, alert.summary);
    }
    text
}

fn rule_text(rule: &Rule, tests: &[RuleTest]) -> String {
    let mut text = format!(
        "# {}\n\n{}. Severity {}.",
        rule.name, rule.title, rule.severity
    );
    let attack: Vec<&str> = rule.attack.iter().map(|id| &**id).collect();
    if !attack.is_empty() {
        let _ = write!(text, " ATT&CK {}.", attack.join(", "));
    }
    let by: Vec<&str> = rule.by.iter().map(|field| field.name()).collect();
    let _ = write!(
        text,
        "\n\nIt fires when, by {}, there are at least\n\n",
        by.join(" and ")
    );
    for limit in &rule.limits {
        let _ = writeln!(text, "- {limit}");
    }
    let selected = rule.select.to_string();
    if !selected.is_empty() {
        let _ = write!(text, "\nof what is `{selected}`,");
    }
    let quiet = Span(rule.quiet);
    let _ = write!(text, "\nand is resolved after {quiet} of silence");
    if rule.hold > 0 {
        let _ = write!(
            text,
            "; it is pending for {} before it fires",
            Span(rule.hold)
        );
    }
    let _ = writeln!(
        text,
        ". Its alert in Alertmanager is {}.",
        alert_name(&rule.name)
    );
    // A gap is not less of one for being told.
    if rule
        .limits
        .iter()
        .any(|limit| limit.measure != Measure::Gap)
    {
        let _ = writeln!(
            text,
            "Once it has fired, a tenth of a limit is enough for the same key: its case is open, and the alert shows the \
             lower limit."
        );
    }
    if !rule.advice.is_empty() {
        let _ = write!(text, "\n## What to do\n\n{}\n", rule.advice);
    }
    if let Some(test) = tests
        .iter()
        .find(|test| !test.expect.text.trim().is_empty())
    {
        let _ = write!(text, "\n## Example: {}\n\n", test.name);
        indent(&mut text, &test.given_text);
        text += "\nsays\n\n";
        indent(&mut text, &test.expect.text);
    }
    let quiet: Vec<&str> = tests
        .iter()
        .filter(|test| test.expect.text.trim().is_empty())
        .map(|test| &*test.name)
        .collect();
    if !quiet.is_empty() {
        text += "\n## It is\n\n";
        quiet.iter().for_each(|name| text += &format!("- {name}\n"));
    }
    text
}

fn indent(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "    {line}");
    }
}

fn measure_text(measure: &Definition, rules: &[(Rule, Vec<RuleTest>)]) -> String {
    let name = measure.measure.name();
    let keys: Vec<&str> = measure
        .measure
        .word()
        .watches
        .keys()
        .iter()
        .map(|key: &KeyField| key.name())
        .collect();
    let mut text = format!("# {name}\n\n{}\n\n", measure.doc);
    let _ = writeln!(
        text,
        "A limit in a rule: `{}`. It can be counted by {}.",
        measure.example,
        keys.join(", ")
    );
    let users: Vec<&str> = rules
        .iter()
        .filter(|(rule, _)| {
            rule.limits
                .iter()
                .any(|limit| limit.measure == measure.measure)
        })
        .map(|(rule, _)| &*rule.name)
        .collect();
    if !users.is_empty() {
        let _ = write!(text, "\nRules that count it: {}.\n", users.join(", "));
    }
    text
}

fn metric_text((name, help, labels): (&str, &str, &[&str])) -> String {
    let labels = if labels.is_empty() {
        "none".to_owned()
    } else {
        labels.join(", ")
    };
    // Names tell the type (the page's own test holds them to it).
    let query = if name.ends_with("_total") {
        format!("rate({name}[5m])")
    } else {
        name.to_owned()
    };
    format!("# {name}\n\n{help}\n\nLabels: {labels}. A query: `{query}`.\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaga_rules::pack;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let told = explain(name, &pack::with_own(Vec::new())).unwrap_or_else(|trouble| trouble);
        assert_eq!(told, expected);
    }

    const SENSOR_BLIND: &str = "\
# sensor-blind

A sensor is blind. Severity critical. ATT&CK T1562.001.

It fires when, by sensor, there are at least

- gap: 1 in 1m

of what is `gap: [blind, unseen]`,
and is resolved after 1m of silence. Its alert in Alertmanager is JagaSensorBlind.

## What to do

'jaga check' says why and what to do. Until it sees again, nothing that it would see is told.

## Example: blind for a while

    at 10s sensor files blind for 2m

says

    10s   firing   sensor-blind sensor=files
    55s   firing   sensor-blind sensor=files size=10
    3m05s resolved sensor-blind sensor=files size=10

## It is

- quiet for lost events, which have a rule of their own
";

    #[test]
    fn a_rule_by_its_name_and_by_its_alerts() {
        check("sensor-blind", SENSOR_BLIND);
        check(
            "JagaStoreDataLeavez",
            "nothing is called 'JagaStoreDataLeavez'; did you mean 'JagaStoreDataLeaves'?",
        );
        // Prometheus has an alert of that name, too.
        let told = explain("JagaSensorBlind", &pack::with_own(Vec::new())).unwrap();
        assert!(told.starts_with(SENSOR_BLIND) && told.contains("\n# JagaSensorBlind\n"));
    }

    #[test]
    fn a_measure() {
        check(
            "gap",
            "\
# gap

Times that a sensor lost events, went blind, or could not read its input.

A limit in a rule: `gap: 1 in 1m`. It can be counted by sensor, host.

Rules that count it: sensor-blind, sensor-lowered, data-lost.
",
        );
    }

    #[test]
    fn a_metric() {
        check(
            "jaga_store_read_bytes_total",
            "\
# jaga_store_read_bytes_total

Bytes read of the store.

Labels: store. A query: `rate(jaga_store_read_bytes_total[5m])`.
",
        );
    }

    #[test]
    fn what_is_not_known_is_guessed() {
        check(
            "store-data-leafs",
            "nothing is called 'store-data-leafs'; did you mean 'store-data-leaves'?",
        );
    }

    #[test]
    fn everything_listed_can_be_explained() {
        let files = pack::with_own(Vec::new());
        let text = list(&files);
        let names: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(names.len() > 50, "{text}");
        for name in names {
            assert!(explain(name, &files).is_ok(), "{name}");
        }
    }
}
