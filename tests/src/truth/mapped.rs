//! Ways to read a file through a mapping: the truth is every page that was touched, each once.

use std::fs::File;
use std::io;

use super::call::Map;
use super::{BIG, Bench, Way, wait_for_agent};

/// The ways.
pub const WAYS: &[Way] = &[
    Way::new("mmap, in order", |bench| Ok(all_of(&map(bench, 0)?))),
    Way::new("mmap, at random", |bench| Ok(some_of(&map(bench, 0)?))),
    Way::new("mmap, populated", |bench| {
        Ok(all_of(&map(bench, libc::MAP_POPULATE)?))
    }),
    Way::early("mapped before the agent started", |bench| {
        let map = map(bench, 0)?;
        all_of(&map);
        wait_for_agent()?;
        Ok(all_of(&map))
    }),
];

fn map(bench: &Bench, flags: i32) -> io::Result<Map> {
    Map::new(
        &File::open(bench.big())?,
        usize::try_from(BIG).expect("small"),
        flags,
    )
}

fn all_of(map: &Map) -> u64 {
    map.bytes().chunks(4096).map(touched).sum()
}

/// Every 13th page, in an order that no read-ahead follows.
fn some_of(map: &Map) -> u64 {
    let pages: Vec<&[u8]> = map.bytes().chunks(4096).collect();
    let places = (0..pages.len() / 13).map(|step| step * 13 * 7 % pages.len());
    let distinct: std::collections::BTreeSet<usize> = places.collect();
    distinct
        .iter()
        .rev()
        .map(|place| touched(pages[*place]))
        .sum()
}

/// Reads a byte of the page, for certain.
fn touched(page: &[u8]) -> u64 {
    std::hint::black_box(page[page.len() / 2]);
    page.len() as u64
}
