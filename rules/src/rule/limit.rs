//! Reads a limit of a rule, and refuses what no observation could ever reach.

use std::fmt;

use super::words::{MEASURES, MEASURES_LATER, MeasureWord, Unit, Watches};
use super::{Amount, KeyField, Limit, Measure, Where};
use crate::event::SECOND;
use crate::measure::definition;
use crate::units::{Bytes, Count, DAY, Quantity, Rate, Share, Span};
use crate::yaml::{At, Fields};

/// Windows: shorter ones see single packets, longer ones outlive what can be kept.
const WINDOW: std::ops::RangeInclusive<i64> = SECOND..=90 * DAY;

/// `exposed-bytes: 100 MB in 10m`, `rate: 20 MB/s burst 2 GB`, `exposed-bytes: 5 % of store in 24h`.
pub(super) fn limit(at: At<'_>) -> Option<Limit> {
    let (key, value) = at.only_field("a limit")?;
    let word = measure(key)?;
    match word.unit {
        Unit::Rate => rate(value, word),
        Unit::Bytes | Unit::Count => windowed(value, word),
    }
}

impl fmt::Display for Limit {
    /// As it is written in a rule file.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measure, window) = (self.measure, Span(self.window));
        match (self.amount, measure.word().unit) {
            (Amount::Rate { per_second, burst }, _) => {
                write!(
                    out,
                    "{measure}: {}/s burst {}",
                    Bytes(per_second),
                    Bytes(burst)
                )
            }
            (Amount::Share(share), _) => {
                write!(out, "{measure}: {} of store in {window}", Share(share))
            }
            (Amount::Units(units), Unit::Count) => write!(out, "{measure}: {units} in {window}"),
            (Amount::Units(units), Unit::Bytes | Unit::Rate) => {
                write!(out, "{measure}: {} in {window}", Bytes(units))
            }
        }
    }
}

fn measure(at: At<'_>) -> Option<&'static MeasureWord> {
    let text = at.text()?;
    if MEASURES_LATER.contains(&text) {
        return at.wrong(
            format!("measure '{text}' is not built yet"),
            "use another measure, or remove this limit",
        );
    }
    let words: Vec<(&str, Measure)> = MEASURES
        .iter()
        .map(|word| (word.name, word.measure))
        .collect();
    at.word("measure", &words).map(Measure::word)
}

fn windowed(at: At<'_>, word: &MeasureWord) -> Option<Limit> {
    let text = at.text()?;
    let example = || format!("write for instance '{}'", definition(word.measure).example);
    let Some((amount, window)) = text.split_once(" in ") else {
        return at.wrong(format!("'{text}' has no window"), example());
    };
    let window =
        read(at, window, "write for instance '10m', '24h' or '30d'").map(|Span(nanos)| nanos);
    let amount = match amount.trim().strip_suffix("of store") {
        Some(share) => read(at, share.trim(), "write for instance '5 % of store in 24h'")
            .map(|Share(share)| Amount::Share(share)),
        None if amount.contains('%') => at.wrong("a share of what?", "write '5 % of store in 24h'"),
        None if word.unit == Unit::Bytes => {
            read(at, amount, &example()).map(|Bytes(bytes)| Amount::Units(bytes))
        }
        None => read(at, amount, &example()).map(|Count(count)| Amount::Units(count)),
    };
    let (amount, window) = (amount?, window?);
    if !WINDOW.contains(&window) {
        let (least, most) = (Span(*WINDOW.start()), Span(*WINDOW.end()));
        return at.wrong(
            format!("a window of '{}' is out of range", Span(window)),
            format!("write something between {least} and {most}"),
        );
    }
    if matches!(amount, Amount::Units(0)) || matches!(amount, Amount::Share(share) if share <= 0.0)
    {
        return at.wrong("a limit of 0 would always fire", example());
    }
    Some(Limit {
        measure: word.measure,
        amount,
        window,
    })
}

fn rate(at: At<'_>, word: &MeasureWord) -> Option<Limit> {
    let text = at.text()?;
    let example = format!("write for instance '{}'", definition(word.measure).example);
    let Some((rate, burst)) = text.split_once(" burst ") else {
        return at.wrong(format!("'{text}' has no burst"), example);
    };
    let rate: Option<Rate> = read(at, rate, &example);
    let burst: Option<Bytes> = read(at, burst, &example);
    let (rate, Bytes(burst)) = (rate?, burst?);
    let Quantity::Bytes(bytes) = rate.amount else {
        return at.wrong("'rate' counts bytes", example);
    };
    let per_second =
        u64::try_from(i128::from(bytes) * i128::from(SECOND) / i128::from(rate.per)).unwrap_or(0);
    if per_second == 0 || burst < per_second {
        return at.wrong(
            "the rate must be above 0, and the burst at least a second of it",
            example,
        );
    }
    let window = i64::try_from(u128::from(burst) * SECOND as u128 / u128::from(per_second))
        .unwrap_or(i64::MAX);
    if window > *WINDOW.end() {
        return at.wrong(
            "the burst takes more than 90 days to refill",
            "write a smaller burst",
        );
    }
    Some(Limit {
        measure: word.measure,
        amount: Amount::Rate { per_second, burst },
        window,
    })
}

fn read<T: std::str::FromStr<Err = String>>(at: At<'_>, text: &str, help: &str) -> Option<T> {
    match text.trim().parse() {
        Ok(value) => Some(value),
        Err(error) => at.wrong(error.split("; ").next().unwrap_or(&error), help),
    }
}

/// Tells of limits whose measure has not what `by` and `where` ask for: they would never fire, and a rule that
/// cannot fire is worse than none.
pub(super) fn needs(
    fields: &Fields<'_>,
    select: &Where,
    by: &[KeyField],
    limits: &[(At<'_>, &Limit)],
) {
    for (at, limit) in limits {
        let word = limit.measure.word();
        if let Some(key) = by.iter().find(|key| !word.watches.keys().contains(key)) {
            let known: Vec<&str> = word.watches.keys().iter().map(|key| key.name()).collect();
            at.wrong::<()>(
                format!("'{}' cannot be counted by '{key}'", word.name),
                format!("it has {}", known.join(", ")),
            );
        }
        if let Some(field) = unmet(word.watches, select) {
            at.wrong::<()>(
                format!("'{}' has no '{field}' to select by", word.name),
                format!("remove '{field}' from 'where', or make a second rule"),
            );
        }
        let summed = matches!(word.watches, Watches::Exposed | Watches::Media)
            && limit.measure != Measure::ServedBytes;
        let one_store = by.contains(&KeyField::Store) || select.store.len() == 1;
        if summed && !one_store {
            at.wrong::<()>(
                format!(
                    "'{}' is booked to every store that is held, so a sum over stores counts twice",
                    word.name
                ),
                "add 'store' to 'by'",
            );
        } else if matches!(limit.amount, Amount::Share(_)) && !one_store {
            at.wrong::<()>("a share of which store?", "add 'store' to 'by'");
        }
    }
    let peers = by.contains(&KeyField::Peer);
    let outside = select.scope.is_empty()
        || select
            .scope
            .iter()
            .any(|scope| *scope != super::Scope::Internal);
    if peers
        && outside
        && let Some(at) = fields.field("by")
    {
        at.wrong::<()>(
            "'peer' is inside the hospital, 'where' selects more",
            "add 'scope: internal', or use 'destination'",
        );
    }
}

/// The first selection that observations of this kind do not have.
fn unmet(watches: Watches, select: &Where) -> Option<&'static str> {
    let sent = matches!(watches, Watches::Sent | Watches::Exposed);
    let gaps = watches == Watches::Gaps;
    let (medical, firsts) = (watches == Watches::Medical, watches == Watches::Firsts);
    let leaves = sent
        || medical
        || firsts
        || matches!(watches, Watches::Wire | Watches::Lookups | Watches::Icmp);
    let somebody = !gaps && (sent || firsts || !leaves);
    let of_store = matches!(
        watches,
        Watches::Exposed
            | Watches::Read
            | Watches::Media
            | Watches::Memory
            | Watches::Devices
            | Watches::Firsts
    );
    let given = [
        ("scope", !select.scope.is_empty(), leaves),
        ("store", !select.store.is_empty(), of_store),
        ("session", !select.session.is_empty(), somebody),
        ("exe", !select.exe.is_empty(), somebody),
        ("user", !select.user.is_empty(), somebody),
        ("destination", !select.destination.is_empty(), leaves),
        ("serves", select.serves.is_some(), sent),
        ("below", select.below.is_some(), watches == Watches::Read),
        (
            "reader",
            select.reader.is_some(),
            somebody && !sent && !firsts,
        ),
        ("app-protocol", !select.app_protocol.is_empty(), sent),
        (
            "ae-title",
            !select.ae_title.is_empty(),
            sent || medical || firsts,
        ),
        ("first", !select.first.is_empty(), firsts),
        (
            "new-destination",
            select.new_destination.is_some(),
            watches == Watches::Exposed,
        ),
        ("ae-named", select.ae_named.is_some(), medical),
        ("gap", !select.gap.is_empty(), gaps),
        ("sensor", !select.sensor.is_empty(), gaps),
    ];
    given
        .into_iter()
        .find(|(_, asked, has)| *asked && !has)
        .map(|(name, ..)| name)
}

#[cfg(test)]
mod tests {
    use crate::pack::PACKS;
    use crate::rule::parse;

    #[test]
    fn selections_read_back() {
        let select = "scope: [relay], store: [lab], session: [login:*, unit:x*], exe: [/usr/bin/*], user: [a], \
                      destination: [10.0.0.5:3128, fd00::/8], serves: no, stores: any";
        let rule = |select: &str| {
            format!(
                "rule: a\ntitle: a\nseverity: info\nby: store\nwhere: {{ {select} }}\nlimits: [{{ exposed-bytes: 1 B in 1h }}]"
            )
        };
        let read = parse("a", &rule(select)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(read.rules[0].select.to_string(), select);
        let reads =
            rule("store: [lab], below: yes, reader: no").replace("exposed-bytes", "read-bytes");
        let read = parse("a", &reads).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(
            read.rules[0].select.to_string(),
            "store: [lab], below: yes, reader: no"
        );
        assert!(
            parse("a", &rule("below: yes")).is_err(),
            "what is sent has no device"
        );
    }

    #[test]
    fn limits_read_back() {
        let limits = "- rate: 20 MB/s burst 2 GB\n- sent-bytes: 1.5 GiB in 1h30m\n- connections: 10 000 in 1h\n";
        let text = |limits: &str| {
            format!("rule: a\ntitle: a\nseverity: info\nby: host\nlimits:\n{limits}")
        };
        for file in PACKS
            .iter()
            .map(|(_, text)| (*text).to_owned())
            .chain([text(limits)])
        {
            for rule in parse("a", &file)
                .unwrap()
                .rules
                .iter()
                .filter(|rule| rule.by.len() == 1 && rule.select.store.is_empty())
            {
                let written: String = rule
                    .limits
                    .iter()
                    .map(|limit| format!("- {limit}\n"))
                    .collect();
                let same = text(&written).replace("by: host", &format!("by: {}", rule.by[0]));
                assert_eq!(
                    parse("b", &same).unwrap().rules[0].limits,
                    rule.limits,
                    "{written}"
                );
            }
        }
    }
}
