//! Notices that the configuration or a rule file has changed, through `notify`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::setup::{self, Checked, Trouble};

/// An editor writes a file in several steps; they are one change.
const SETTLE: Duration = Duration::from_millis(200);

/// Watches the configuration and the directory of rules.
#[derive(Debug)]
pub struct Reloads {
    config: PathBuf,
    /// The directory of rules that is followed; shared with the watcher's thread.
    rules: Arc<Mutex<PathBuf>>,
    /// There was a configuration: that it is gone is no wish for the defaults.
    there: bool,
    changes: mpsc::Receiver<()>,
    watcher: RecommendedWatcher,
}

impl Reloads {
    /// Watches the directories, not the files: editors and configuration tools replace files by renaming. The first
    /// change is told at once: what changed after it was read and before it was watched would be missed.
    ///
    /// # Errors
    /// The system gives no watcher at all. A directory that is not there is only logged: it may never be.
    pub fn watch(config: &Path, rules: &Path) -> Result<Self, String> {
        // One waiting change stands for all: the files are read whole.
        let (sender, changes) = mpsc::channel(1);
        let (config_path, rules_path) = (absolute(config), absolute(rules));
        let followed = Arc::new(Mutex::new(rules_path.clone()));
        let (ours, rules_dir) = (config_path.clone(), Arc::clone(&followed));
        let _ = sender.try_send(());
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let rules_dir = rules_dir.lock().unwrap_or_else(PoisonError::into_inner);
                let concerns = |path: &PathBuf| *path == ours || path.starts_with(&*rules_dir);
                match event {
                    Ok(event) if event.kind.is_access() || !event.paths.iter().any(concerns) => {}
                    _ => drop(sender.try_send(())),
                }
            })
            .map_err(|error| {
                format!("cannot watch files: {error}; raise fs.inotify.max_user_instances")
            })?;
        let config_dir = config_path.parent().unwrap_or(Path::new("/")).to_path_buf();
        for directory in [config_dir, rules_path] {
            watch(&mut watcher, &directory);
        }
        Ok(Self {
            config: config.to_path_buf(),
            rules: followed,
            there: !setup::is_absent(config),
            changes,
            watcher,
        })
    }

    /// Reads what decides anew. The directory of rules that the configuration names now is followed from before it is
    /// read, and also if there is a problem: it may be mended there.
    ///
    /// # Errors
    /// What cannot be read, or every problem of what was read.
    pub fn read(&mut self) -> Result<Checked, Trouble> {
        let there = !setup::is_absent(&self.config);
        if self.there && !there {
            return Err(Trouble::Unreadable(format!(
                "'{}' is gone; put it back, or restart to run by the shipped defaults",
                self.config.display()
            )));
        }
        self.there = there;
        self.follow_rules(&setup::rules_directory(&self.config)?);
        setup::read(&self.config)
    }

    /// Follows a directory of rules, in place of the one before. Also when it is the same: it may have been made, or made
    /// anew, since.
    fn follow_rules(&mut self, rules: &Path) {
        let rules = absolute(rules);
        let before = {
            let mut followed = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *followed, rules.clone())
        };
        // It may be gone, or never have been; and the configuration's own directory must stay watched.
        if before != rules && Some(&*before) != absolute(&self.config).parent() {
            let _ = self.watcher.unwatch(&before);
        }
        if before == rules {
            // That it cannot be followed was said before.
            let _ = self.watcher.watch(&rules, RecursiveMode::NonRecursive);
        } else {
            watch(&mut self.watcher, &rules);
        }
    }

    /// The configuration's path, as the user gave it.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Waits for a change, and until it has settled.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.changes.recv()).await {}
    }
}

fn watch(watcher: &mut RecommendedWatcher, directory: &Path) {
    if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
        tracing::info!(
            "'{}' is not watched for changes ({error}); SIGHUP reloads",
            directory.display()
        );
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replaced_file_and_a_new_rule_are_noticed_and_a_read_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let (config, rules) = (
            directory.path().join("jaga.yaml"),
            directory.path().join("rules"),
        );
        std::fs::create_dir(&rules).expect("made");
        std::fs::write(&config, "").expect("written");
        let mut reloads = Reloads::watch(&config, &rules).expect("watched");
        // It may have changed before.
        reloads.changed().await;
        std::fs::read(&config).expect("read");
        assert!(
            tokio::time::timeout(SETTLE, reloads.changed())
                .await
                .is_err(),
            "a read is no change"
        );
        let other = directory.path().join("jaga.yaml.new");
        std::fs::write(&other, "site: a\n").expect("written");
        std::fs::rename(&other, &config).expect("renamed");
        reloads.changed().await;
        std::fs::write(rules.join("own.yaml"), "").expect("written");
        reloads.changed().await;
    }

    #[tokio::test]
    async fn another_directory_of_rules_is_followed_and_one_that_is_made_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let (config, rules) = (
            directory.path().join("jaga.yaml"),
            directory.path().join("rules"),
        );
        let name = |rules: &Path| std::fs::write(&config, format!("rules: {}\n", rules.display()));
        let other = tempfile::tempdir().expect("a directory");
        let wrong = other.path().join("own.yaml");
        std::fs::write(&wrong, "rule: x\n").expect("written");
        name(&rules).expect("written");
        let mut reloads = Reloads::watch(&config, &rules).expect("watched");
        noticed(&mut reloads).await;
        name(other.path()).expect("written");
        noticed(&mut reloads).await;
        reloads.read().expect_err("the rule has nothing in it");
        std::fs::remove_file(&wrong).expect("mended");
        noticed(&mut reloads).await;
        name(&rules).expect("written");
        noticed(&mut reloads).await;
        let before = reloads.read().expect("right");
        std::fs::create_dir(&rules).expect("made");
        noticed(&mut reloads).await;
        let now = reloads.read().expect("right");
        assert_eq!(
            now.setup, before.setup,
            "an empty directory decides nothing"
        );
        std::fs::write(rules.join("own.yaml"), "").expect("written");
        noticed(&mut reloads).await;
    }

    async fn noticed(reloads: &mut Reloads) {
        let waited = tokio::time::timeout(Duration::from_secs(10), reloads.changed()).await;
        waited.expect("the change is noticed");
    }
}
