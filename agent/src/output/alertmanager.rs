//! Alertmanager's API v2: tells what fires, says it again while it does, and when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use jaga_rules::output::{AlertState, Transition};

use super::http::{Poster, Refusal};
use super::{Context, Delivery, Failure, Output};
use crate::clock;

mod alert;

pub(crate) use alert::alert_name;
pub use alert::runbook;

use alert::Alert;

/// Alertmanager forgets an alert by itself after so many re-sends that did not come.
const ENDS_AFTER_RESENDS: u32 = 4;

/// An alert stays for so many re-sends after it was told, even if it is already over: a leak that ended while
/// Alertmanager was away would else be dropped before its group is notified (group_interval is 5 minutes).
const LINGERS_FOR_RESENDS: u32 = 6;

/// What names an alert here: each size of an id is an alert of its own.
type Which = (String, u32);

/// One Alertmanager. A cluster's members are outputs of their own.
#[derive(Debug)]
pub(super) struct Alertmanager {
    poster: Poster,
    context: Context,
    active: BTreeMap<Which, Told>,
}

/// An alert as it fired: its labels are its identity and must not change when it resolves.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    firing: Transition,
    /// Wall time at which it was first told; 0 = by an earlier run.
    at: i64,
}

impl Alertmanager {
    pub(super) fn new(url: &str, context: Context) -> Result<Self, String> {
        Ok(Self {
            poster: Poster::new(url, "/api/v2/alerts")?,
            context,
            active: BTreeMap::new(),
        })
    }
}

impl Output for Alertmanager {
    fn deliver<'a>(&'a mut self, transitions: &'a [Transition]) -> Delivery<'a> {
        Box::pin(async move {
            let now = clock::wall();
            let mut active = self.active.clone();
            let changed = apply(&mut active, transitions, now, self.context.resend);
            let alerts = self.alerts(&changed, now);
            self.post_or_isolate(&alerts).await?;
            self.active = active;
            Ok(alerts.len() as u64)
        })
    }

    fn refresh_period(&self) -> Option<Duration> {
        Some(self.context.resend)
    }

    fn refresh(&mut self, active: Vec<Transition>) -> Delivery<'_> {
        Box::pin(async move {
            self.active = recall(&self.active, active);
            let ends = self
                .active
                .iter()
                .map(|(which, told)| (which.clone(), (told.firing.clone(), None)))
                .collect();
            let alerts = self.alerts(&ends, clock::wall());
            self.post_or_isolate(&alerts).await?;
            Ok(0)
        })
    }
}

/// What changed: the alert as it fired, and its end if it has one.
type Changed = BTreeMap<Which, (Transition, Option<i64>)>;

impl Alertmanager {
    fn alerts(&self, changed: &Changed, now: i64) -> Vec<Alert> {
        let ahead = now.saturating_add(nanos(self.context.resend * ENDS_AFTER_RESENDS));
        changed
            .values()
            .map(|(firing, end)| Alert::new(firing, end.unwrap_or(ahead), &self.context))
            .collect()
    }

    /// A batch that is refused is posted one by one, so that one alert that Alertmanager does not want cannot keep
    /// the others away.
    async fn post_or_isolate(&self, alerts: &[Alert]) -> Result<(), Failure> {
        if alerts.is_empty() {
            return Ok(());
        }
        match self.post(alerts).await {
            Ok(()) => return Ok(()),
            Err(Refusal::Unanswered(why)) => return Err(Failure::Retry(why)),
            Err(Refusal::BadRequest(why)) if alerts.len() == 1 => {
                return Err(Failure::Refused(why));
            }
            Err(Refusal::BadRequest(_)) => {}
        }
        let mut refused = None;
        for alert in alerts {
            match self.post(std::slice::from_ref(alert)).await {
                Ok(()) => {}
                Err(Refusal::Unanswered(why)) => return Err(Failure::Retry(why)),
                Err(Refusal::BadRequest(why)) => refused = Some(why),
            }
        }
        refused.map_or(Ok(()), |why| Err(Failure::Refused(why)))
    }

    async fn post(&self, alerts: &[Alert]) -> Result<(), Refusal> {
        let body = serde_json::to_string(alerts).expect("strings always serialise");
        self.poster.post(body).await
    }
}

/// Follows `transitions` in `active`, and returns what must be told now.
fn apply(
    active: &mut BTreeMap<Which, Told>,
    transitions: &[Transition],
    now: i64,
    resend: Duration,
) -> Changed {
    let mut changed = Changed::new();
    for transition in transitions {
        match transition.state {
            AlertState::Pending => {}
            AlertState::Firing => {
                let which = (transition.id.clone(), transition.size);
                changed.insert(which.clone(), (transition.clone(), None));
                let told = Told {
                    firing: transition.clone(),
                    at: now,
                };
                active.entry(which).or_insert(told);
            }
            AlertState::Resolved => {
                for (which, told) in take_sizes(active, transition) {
                    let lingers = nanos(resend * LINGERS_FOR_RESENDS);
                    let end = transition.wall.max(told.at.saturating_add(lingers));
                    changed.insert(which, (told.firing, Some(end)));
                }
            }
        }
    }
    changed
}

/// All sizes of the alert that `resolved` ends; itself if its firing is not known any more.
fn take_sizes(active: &mut BTreeMap<Which, Told>, resolved: &Transition) -> Vec<(Which, Told)> {
    let id = &resolved.id;
    let sizes: Vec<(Which, Told)> = active
        .range((id.clone(), 0)..=(id.clone(), u32::MAX))
        .map(|(which, told)| (which.clone(), told.clone()))
        .collect();
    for (which, _) in &sizes {
        active.remove(which);
    }
    if sizes.is_empty() {
        let told = Told {
            firing: resolved.clone(),
            at: 0,
        };
        return vec![((id.clone(), resolved.size), told)];
    }
    sizes
}

/// What the state file says is active, with what is remembered of when it was told.
fn recall(known: &BTreeMap<Which, Told>, active: Vec<Transition>) -> BTreeMap<Which, Told> {
    active
        .into_iter()
        .map(|firing| {
            let which = (firing.id.clone(), firing.size);
            let at = known.get(&which).map_or(0, |told| told.at);
            (which, Told { firing, at })
        })
        .collect()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{firing, resolved};

    const RESEND: Duration = Duration::from_secs(60);
    const MINUTE: i64 = 60_000_000_000;

    /// `ID SIZE [+SECONDS of its end after FIRED]` of what must be told.
    fn told(active: &mut BTreeMap<Which, Told>, transitions: &[Transition], now: i64) -> String {
        let changed = apply(active, transitions, now, RESEND);
        let words = changed.iter().map(|((id, size), (fired, end))| {
            assert_eq!(
                fired.state,
                AlertState::Firing,
                "labels are those of the firing"
            );
            match end {
                None => format!("{id} {size}x"),
                Some(end) => format!("{id} {size}x ends +{}m", (end - fired.wall) / MINUTE),
            }
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn raised(id: &str, size: u32) -> Transition {
        let mut transition = firing(id);
        transition.size = size;
        transition
    }

    #[test]
    fn sizes_are_active_side_by_side_and_end_together() {
        let mut active = BTreeMap::new();
        let at = firing("a").wall;
        assert_eq!(told(&mut active, &[firing("a")], at), "a 1x");
        assert_eq!(
            told(&mut active, &[raised("a", 10), firing("b")], at),
            "a 10x, b 1x"
        );
        assert_eq!(active.len(), 3);
        let mut last = resolved("a");
        last.size = 10;
        let ends = "a 1x ends +15m, a 10x ends +15m";
        assert_eq!(told(&mut active, &[last], at + 15 * MINUTE), ends);
        assert_eq!(active.len(), 1);
    }

    #[test]
    fn an_alert_that_ended_while_nobody_listened_stays_long_enough_to_be_seen() {
        let mut active = BTreeMap::new();
        let hours_later = firing("a").wall + 120 * MINUTE;
        let both = [firing("a"), resolved("a")];
        assert_eq!(told(&mut active, &both, hours_later), "a 1x ends +126m");
        assert!(active.is_empty());
    }

    #[test]
    fn pending_is_not_told() {
        let mut pending = firing("a");
        pending.state = AlertState::Pending;
        assert_eq!(told(&mut BTreeMap::new(), &[pending], 0), "");
    }

    #[test]
    fn after_a_restart_the_state_file_says_what_is_active() {
        let mut active = recall(&BTreeMap::new(), vec![firing("a"), raised("a", 10)]);
        let at = resolved("a").wall;
        let ends = "a 1x ends +15m, a 10x ends +15m";
        assert_eq!(told(&mut active, &[resolved("a")], at), ends);
    }

    #[test]
    fn what_the_state_file_gave_up_is_not_said_again() {
        let mut active = BTreeMap::new();
        told(&mut active, &[firing("a"), firing("b")], 7);
        let active = recall(&active, vec![firing("b")]);
        let kept: Vec<(&str, i64)> = active
            .values()
            .map(|told| (told.firing.id.as_str(), told.at))
            .collect();
        assert_eq!(kept, [("b", 7)]);
    }
}
