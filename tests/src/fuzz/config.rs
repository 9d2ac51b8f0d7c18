//! A configuration file: read, or refused with places that exist; stores that are written out read back.

use std::sync::Arc;

use jaga_rules::config::{Config, Store, parse, render_stores, with_stores};
use jaga_rules::problem::Problems;

/// The file.
pub fn run(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match parse("jaga.yaml", &text) {
        Ok(config) => written_stores_read_back(&text, &config),
        Err(problems) => told(&problems, &text),
    }
}

/// What the agent puts on a tape in place of `stores: auto` is what it found.
fn written_stores_read_back(text: &str, config: &Config) {
    let read = parse("jaga.yaml", &render_stores(&config.stores)).expect("written stores are read");
    assert_eq!(read.stores, config.stores);
    // A service may name a store that is not found: that is refused, and rightly.
    if config.agent.discover && config.serves.is_empty() {
        let found = vec![Store {
            name: Arc::from("found"),
            paths: vec!["/srv/found".into()],
            records: jaga_rules::config::Records::PerFile(1.0),
            from: Vec::new(),
            guessed: true,
        }];
        let with = with_stores(text, &found);
        if with != text {
            let read = parse("jaga.yaml", &with).unwrap_or_else(|error| panic!("{with}\n{error}"));
            assert_eq!(read.stores, found, "{with}");
        }
    }
}

/// Problems are never empty, and each has a place inside the text, a next step, and a short rendering.
pub fn told(problems: &Problems, text: &str) {
    assert!(!problems.0.is_empty());
    let lines = text.split('\n').count();
    for problem in &problems.0 {
        assert!(!problem.message.is_empty() && !problem.help.is_empty());
        assert!(problem.line <= lines, "line {} of {lines}", problem.line);
        let quoted = problem.message.len() + problem.help.len();
        assert!(problem.rendered.len() <= 4 * quoted + 4_000);
    }
}
