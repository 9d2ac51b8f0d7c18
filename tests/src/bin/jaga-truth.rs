//! Reads and sends in every way there is, and says how many bytes it truly was: the truth that jaga's figures are held against.

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match jaga_tests::truth::main(&words) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            std::process::ExitCode::FAILURE
        }
    }
}
