//! Runs one fuzz target: under libFuzzer if built by `tests/fuzz.sh`, else over the files that are named.
#![cfg_attr(jaga_fuzz, no_main)]

#[cfg(jaga_fuzz)]
mod under_libfuzzer {
    use std::sync::LazyLock;

    use jaga_tests::fuzz;

    /// libFuzzer owns the arguments, so the target's name comes by the environment.
    static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| {
        let name = std::env::var("JAGA_FUZZ_TARGET").unwrap_or_default();
        fuzz::find(&name).unwrap_or_else(|| panic!("JAGA_FUZZ_TARGET='{name}' is no target"))
    });

    libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
}

#[cfg(not(jaga_fuzz))]
fn main() {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let Some(target) = jaga_tests::fuzz::find(&name) else {
        let names: Vec<&str> = jaga_tests::fuzz::TARGETS
            .iter()
            .map(|target| target.name)
            .collect();
        eprintln!(
            "no target '{name}'; say `jaga-fuzz TARGET FILE…` with one of {}",
            names.join(", ")
        );
        std::process::exit(2);
    };
    for file in words {
        println!("{file}");
        let input =
            std::fs::read(&file).unwrap_or_else(|error| panic!("cannot read '{file}': {error}"));
        (target.run)(&input);
    }
}
