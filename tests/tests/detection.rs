//! The detection as a table that no change may worsen: how much had left when the alert fired, and what an ordinary month says.

use jaga_tests::detection;
use jaga_tests::table;

#[test]
fn every_leak_and_every_month_is_as_the_table_says() {
    table::compare("tests/golden/detection.txt", &detection::table(1..21));
}
