//! What is wrong with a file that the user wrote: every problem at once, each with its place and the next step.

use std::fmt;

/// All problems of one or several files; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as the user knows it.
    pub file: String,
    /// 1-based; 0 if the problem is with the whole file.
    pub line: usize,
    /// 1-based, in characters; 0 if the problem is with the whole line or file.
    pub column: usize,
    /// What is wrong, lower case, with the value quoted.
    pub message: String,
    /// The next step.
    pub help: String,
    /// The rendered message with the quoted source lines.
    pub rendered: String,
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(out, "{}", problem.rendered)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
