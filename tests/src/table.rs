//! Tables that are kept in `tests/golden`: made anew by each run, and compared.

use std::fs;

use crate::program;

/// Columns as wide as their widest cell, two spaces between them.
pub fn aligned<Cell: AsRef<str>, const COLUMNS: usize>(rows: &[[Cell; COLUMNS]]) -> String {
    let cell = |row: &[Cell; COLUMNS], column: usize| row[column].as_ref().chars().count();
    let width = |column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{:width$}  ", cell.as_ref()))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What is kept in a file of the project; empty if nothing is yet.
#[must_use]
pub fn kept(golden: &str) -> String {
    fs::read_to_string(program::root().join(golden)).unwrap_or_default()
}

/// Compares a table with the one that is kept; `JAGA_BLESS=1` keeps the new one, which somebody then reads.
///
/// # Panics
/// If they differ: with the lines that do.
pub fn compare(golden: &str, table: &str) {
    let kept = kept(golden);
    if std::env::var_os("JAGA_BLESS").is_some() {
        fs::write(program::root().join(golden), table).expect("the project can be written");
        return;
    }
    let lines = table.lines().zip(kept.lines());
    for (new, old) in lines.filter(|(new, old)| new != old) {
        eprintln!("was {old}\nis  {new}");
    }
    assert!(
        table == kept,
        "{golden} is otherwise; JAGA_BLESS=1 writes it anew"
    );
}
