//! Where transitions go: what an output is, and the table of those there are.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jaga_rules::config::{Config, OutputConfig};
use jaga_rules::event::Name;
use jaga_rules::output::Transition;
use jaga_rules::rule::Rule;

mod alertmanager;
pub(crate) use alertmanager::alert_name;
pub use alertmanager::runbook;
mod file;
mod http;
mod nowhere;

pub use nowhere::Nowhere;

/// What a delivery brings: how many transitions were told, or why not.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<u64, Failure>> + Send + 'a>>;

/// A place that takes transitions. Calls come one at a time and in order.
pub trait Output: Send + Sync {
    /// Hands over transitions. After [`Failure::Retry`] the same are offered again, perhaps by the next run of the
    /// agent, and perhaps with more behind them: telling one twice must do no harm.
    fn deliver<'a>(&'a mut self, transitions: &'a [Transition]) -> Delivery<'a>;

    /// How often it wants [`Output::refresh`]; absent = never.
    fn refresh_period(&self) -> Option<Duration> {
        None
    }

    /// Says again which alerts are active, as they fired. Called before the first delivery, too.
    fn refresh(&mut self, _active: Vec<Transition>) -> Delivery<'_> {
        Box::pin(async { Ok(0) })
    }
}

/// Why a delivery failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may succeed later.
    Retry(String),
    /// The receiver understood and will never take it; the rest was taken.
    Refused(String),
}

/// What outputs must know beside a transition.
#[derive(Debug, Clone)]
pub struct Context {
    /// The site, a label.
    pub site: Name,
    /// This host, a label.
    pub instance: Name,
    /// Active alerts are sent again this often.
    pub resend: Duration,
    /// What a rule says to humans, by name.
    pub rules: Arc<BTreeMap<Name, Wording>>,
}

/// What a rule says to humans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// One line.
    pub title: Name,
    /// MITRE ATT&CK technique ids.
    pub attack: Vec<Name>,
    /// What to do.
    pub advice: Name,
}

impl Context {
    /// From the configuration and the rules.
    #[must_use]
    pub fn new(config: &Config, rules: &[Rule]) -> Self {
        let wording = |rule: &Rule| Wording {
            title: rule.title.clone(),
            attack: rule.attack.clone(),
            advice: rule.advice.clone(),
        };
        let rules = rules.iter().map(|rule| (rule.name.clone(), wording(rule)));
        Self {
            site: config.site.clone(),
            instance: config.instance.clone(),
            resend: Duration::from_nanos(config.agent.periods.resend.max(1).cast_unsigned()),
            rules: Arc::new(rules.collect()),
        }
    }
}

/// The table of outputs: one line each.
///
/// # Errors
/// The configuration cannot work on this host.
pub fn open(config: &OutputConfig, context: &Context) -> Result<Box<dyn Output>, String> {
    Ok(match config {
        OutputConfig::File { path } => Box::new(file::AlertFile::new(path.clone())),
        OutputConfig::Alertmanager { url } => {
            Box::new(alertmanager::Alertmanager::new(url, context.clone())?)
        }
    })
}

/// Whether an output that is a place on this host can be written, making it if it is not there.
///
/// # Errors
/// Why not, and the next step.
pub fn try_open(config: &OutputConfig) -> Result<(), String> {
    match config {
        OutputConfig::File { path } => file::AlertFile::new(path.clone()).try_open(),
        // It may well come up later than this host.
        OutputConfig::Alertmanager { .. } => Ok(()),
    }
}

/// What an output is called in metrics, logs and the state file: the same over restarts, without passwords.
#[must_use]
pub fn name(config: &OutputConfig) -> String {
    match config {
        OutputConfig::File { path } => format!("file:{}", path.display()),
        OutputConfig::Alertmanager { url } => format!("alertmanager:{}", http::without_user(url)),
    }
}
