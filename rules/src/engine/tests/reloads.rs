//! What outlives a reload of the configuration and the rules.

use super::*;

#[test]
fn a_reload_keeps_what_was_counted() {
    let mut engine = engine();
    let mut setup = setup();
    setup.rules[0].text = RULES
        .replace("severity: critical", "severity: info")
        .replace("1000 B in 10m", "1500 B in 10m");
    let out = run(
        &mut engine,
        &[
            (0, known(5)),
            (0, read(5, 1, 10_000)),
            (SECOND, sent(5, "203.0.113.9:443", 900)),
            (2 * SECOND, Event::Reload(Box::new(setup))),
            (3 * SECOND, sent(5, "203.0.113.9:443", 700)),
        ],
    );
    assert_eq!(
        shown(&out),
        ["3 Firing leaves ekg login:user5 1600/1500 1x"]
    );
}

/// A second rule counts the same over a day; without it the short window's total would begin anew.
#[test]
fn what_was_told_before_a_reload_never_hides_what_comes_after() {
    let rule = |name: &str, limit: &str| {
        format!(
            "rule: {name}\ntitle: x\nseverity: info\nby: [destination]\nlimits: [{{ sent-bytes: {limit} }}]\nquiet: 1m\n"
        )
    };
    let with = |rules: &[String]| {
        let mut setup = setup();
        setup.rules[0].text = rules.join("---\n");
        setup
    };
    let short = rule("short", "1000 B in 1m");
    let both = with(&[short.clone(), rule("long", "1 GB in 24h")]);
    for after in [
        with(std::slice::from_ref(&short)),
        with(&[rule("short", "1000 B in 2m")]),
    ] {
        let mut engine = Engine::new(7, &both).unwrap();
        let told = run(
            &mut engine,
            &[
                (0, sent(5, "203.0.113.9:443", 90_000)),
                (300 * SECOND, Event::Reload(Box::new(after))),
                (400 * SECOND, sent(5, "203.0.113.9:443", 1000)),
            ],
        );
        let told = shown(&told);
        assert_eq!(
            told.first().unwrap(),
            "0 Firing short 203.0.113.9 90000/1000 1x"
        );
        assert!(
            told.last()
                .unwrap()
                .starts_with("400 Firing short 203.0.113.9 1000/"),
            "{told:?}"
        );
    }
}

#[test]
fn a_reload_may_drop_a_rule_that_fires() {
    let mut engine = engine();
    let mut fewer = setup();
    fewer.rules[0].text = RULES
        .split("---")
        .next()
        .expect("the first rule")
        .to_owned();
    let blind = Event::Gap(Gap {
        sensor: "files".into(),
        kind: GapKind::Blind,
        events: 1,
        bytes: 0,
        why: "x".into(),
    });
    run(&mut engine, &[(0, blind.clone()), (0, blind)]);
    engine.take_rows();
    let told = run(&mut engine, &[(1, Event::Reload(Box::new(fewer)))]);
    assert_eq!(shown(&told), ["0 Resolved blind files 2/2 1x"]);
    assert!(
        engine
            .take_rows()
            .iter()
            .any(|row| row.id.contains("blind"))
    );
}
