//! What is estimated of small stories: opens, looks, closes.

use super::*;

const BY: By = By::Ended(7);

fn seen(inode: u64, size: u64) -> Seen {
    let file = FileId {
        fs: 1,
        inode,
        generation: 0,
    };
    Seen {
        file,
        inode,
        store: Some(0),
        size,
    }
}

/// Books in which process 7 opened file 1 of 1,000 bytes when it had read 5,000 bytes.
fn books() -> Books {
    let mut books = Books::default();
    books.opened(7, BY, Some(0), seen(9, 1));
    books.closed(7, BY, Some(5_000), seen(9, 1));
    look(&mut books, 5_000, &[]);
    books.opened(7, BY, Some(5_000), seen(1, 1_000));
    books
}

/// Looks at process 7 while no events wait.
fn look(books: &mut Books, rchar: u64, stands: &[(FileId, Stand)]) -> Vec<Estimate> {
    let told = books.looked_at(7, rchar, stands);
    books.forget_rest(7);
    told
}

fn bytes(told: impl IntoIterator<Item = Estimate>) -> u64 {
    told.into_iter().map(|estimate| estimate.bytes).sum()
}

#[test]
fn a_file_is_read_at_most_once_and_as_far_as_the_process_has_read() {
    assert_eq!(
        bytes(books().closed(7, BY, Some(5_300), seen(1, 1_000))),
        300
    );
    assert_eq!(
        bytes(books().closed(7, BY, Some(9_999), seen(1, 1_000))),
        1_000
    );
}

#[test]
fn where_nothing_tells_it_was_read_to_its_end() {
    assert_eq!(bytes(books().closed(7, BY, None, seen(1, 1_000))), 1_000);
    // Mapped.
    assert_eq!(
        bytes(books().closed(7, BY, Some(5_000), seen(1, 1_000))),
        1_000
    );
    // Opened by somebody else, who is not known.
    assert_eq!(
        bytes(Books::default().closed(8, BY, None, seen(1, 1_000))),
        1_000
    );
    // The first two of a process, which it may have read before it was looked at.
    let mut books = Books::default();
    for file in [1, 2] {
        books.opened(7, BY, Some(50_000), seen(file, 1_000));
        let read = books.closed(7, BY, Some(50_100), seen(file, 1_000));
        assert_eq!(bytes(read), 1_000);
    }
}

#[test]
fn what_its_program_took_is_no_trace_of_a_file() {
    let big = seen(2, 1 << 20);
    let mut books = Books::default();
    books.opened(7, BY, Some(2_797), big);
    assert_eq!(bytes(books.closed(7, BY, Some(2_797), big)), 1 << 20);
    // Neither if it is looked at meanwhile.
    let mut books = Books::default();
    books.opened(7, BY, Some(2_797), big);
    let at_start = [(big.file, Stand::At(0))];
    assert_eq!(bytes(look(&mut books, 2_797, &at_start)), 0);
    assert_eq!(bytes(books.closed(7, BY, Some(2_797), big)), 1 << 20);
    // Nor what it reads of another: a clone of it, or the layer below.
    let mut books = Books::default();
    books.opened(7, BY, Some(2_797), big);
    books.opened(7, BY, Some(2_797), seen(3, 9_000));
    let other = books.closed(7, BY, Some(2_797 + 9_000), seen(3, 9_000));
    assert_eq!(bytes(other), 9_000);
    let told = books.closed(7, BY, Some(2_797 + 9_000), big);
    assert_eq!(bytes(told), 1 << 20);
    // Mapped before anybody looked.
    let told = Books::default().closed(8, BY, Some(7_554), big);
    assert_eq!(bytes(told), 1 << 20);
}

#[test]
fn what_was_read_before_a_look_that_a_close_overtook_is_told_with_the_close() {
    let mut books = books();
    let nowhere = [(seen(1, 1_000).file, Stand::Nowhere)];
    let read_before = look(&mut books, 5_400, &nowhere);
    assert_eq!(bytes(read_before), 0);
    assert_eq!(bytes(books.closed(7, BY, Some(5_900), seen(1, 1_000))), 900);
}

#[test]
fn files_read_one_after_the_other_share_what_was_read() {
    let mut books = books();
    // Events come late: both were read before the first is looked at.
    let first = books.closed(7, BY, Some(7_000), seen(1, 1_000));
    books.opened(7, BY, Some(7_000), seen(2, 1_000));
    let second = books.closed(7, BY, Some(7_000), seen(2, 1_000));
    assert_eq!((bytes(first), bytes(second)), (1_000, 1_000));
}

#[test]
fn a_position_tells_while_the_file_is_open() {
    let mut books = books();
    let file = seen(1, 1_000).file;
    assert_eq!(
        bytes(look(&mut books, 5_400, &[(file, Stand::At(400))])),
        400
    );
    assert_eq!(bytes(look(&mut books, 5_400, &[(file, Stand::At(400))])), 0);
    assert_eq!(bytes(books.closed(7, BY, Some(6_000), seen(1, 1_000))), 600);
}

#[test]
fn reads_without_a_position_are_shared_and_end_with_the_file() {
    let mut books = books();
    let file = seen(1, 1_000).file;
    let still = [(file, Stand::At(0))];
    assert_eq!(bytes(look(&mut books, 5_700, &still)), 700);
    assert_eq!(bytes(look(&mut books, 9_000, &still)), 300);
    assert_eq!(bytes(look(&mut books, 10_000, &still)), 0);
}

#[test]
fn what_was_read_of_a_file_whose_open_is_not_taken_yet_is_kept_for_it() {
    let mut books = books();
    // It has closed its file, and read 800 bytes of the next one.
    books.closed(7, BY, Some(5_000), seen(1, 1_000));
    assert_eq!(bytes(books.looked_at(7, 5_800, &[])), 0);
    books.opened(7, BY, Some(6_000), seen(2, 1_000));
    let read = books.closed(7, BY, Some(6_000), seen(2, 1_000));
    assert_eq!(bytes(read), 1_000);
}

#[test]
fn what_was_kept_is_dropped_once() {
    let mut books = books();
    books.closed(7, BY, Some(5_000), seen(1, 1_000));
    books.looked_at(7, 5_800, &[]);
    // This one gets what was kept; what is read after it is of another.
    books.opened(7, BY, Some(5_800), seen(2, 800));
    let second = books.closed(7, BY, Some(5_800), seen(2, 800));
    books.opened(7, BY, Some(5_800), seen(3, 10_000));
    books.opened(7, BY, Some(6_600), seen(4, 10_000));
    let still = [3, 4].map(|inode| (seen(inode, 0).file, Stand::At(0)));
    let looked = books.looked_at(7, 6_600, &still);
    let third = books.closed(7, BY, Some(6_600), seen(3, 10_000));
    assert_eq!(bytes(second), 800);
    assert!(bytes(looked) + bytes(third) >= 800);
}

#[test]
fn guesses_of_any_size_are_no_share_of_what_was_read() {
    let mut books = books();
    let huge = u64::MAX / 2;
    books.opened(7, BY, Some(5_000), seen(2, huge));
    books.opened(7, BY, Some(5_000), seen(3, huge));
    books.opened(7, BY, Some(5_000), seen(4, huge));
    let still = [2, 3, 4].map(|inode| (seen(inode, 0).file, Stand::At(0)));
    look(&mut books, 5_000, &still);
    let guessed = look(&mut books, 5_000, &still);
    assert_eq!(guessed.len(), 3);
}

#[test]
fn a_slow_disk_makes_nothing_be_read_twice() {
    let mut books = books();
    let file = seen(1, 1_000).file;
    let still = [(file, Stand::At(0))];
    assert_eq!(bytes(look(&mut books, 5_000, &still)), 0);
    // Taken to be mapped; but its first page was on its way from the disk.
    assert_eq!(bytes(look(&mut books, 5_000, &still)), 1_000);
    let read = [(file, Stand::At(600))];
    assert_eq!(bytes(look(&mut books, 5_600, &read)), 0);
    let further = [(file, Stand::At(1_000))];
    assert_eq!(bytes(look(&mut books, 6_000, &further)), 0);
    assert_eq!(bytes(books.closed(7, BY, Some(6_000), seen(1, 1_000))), 0);
}

#[test]
fn a_descriptor_that_somebody_else_reads_by_counts_to_the_end() {
    let mut books = books();
    let file = seen(1, 1_000).file;
    assert_eq!(
        bytes(look(&mut books, 5_000, &[(file, Stand::At(300))])),
        300
    );
    assert_eq!(bytes(books.closed(7, BY, Some(5_000), seen(1, 1_000))), 700);
}

#[test]
fn what_has_no_descriptor_is_mapped() {
    let mut books = books();
    let file = seen(1, 1_000).file;
    let nowhere = [(file, Stand::Nowhere)];
    let told = [0; 3].map(|_| bytes(look(&mut books, 5_000, &nowhere)));
    assert_eq!(told, [0, 1_000, 0]);
}

#[test]
fn what_was_written_is_not_read() {
    let mut books = books();
    let (before, read) = books.written(7, Some(9_000), seen(1, 3_000));
    assert_eq!((before, bytes(read)), (Some(1_000), 0));
}

#[test]
fn a_copy_that_is_looked_at_when_it_is_whole_takes_no_read_from_its_source() {
    let mut books = books();
    let copy = Seen {
        store: None,
        ..seen(2, 1_000)
    };
    books.opened(7, BY, Some(6_000), copy);
    books.written(7, Some(6_000), copy);
    let source = books.closed(7, BY, Some(6_000), seen(1, 1_000));
    assert_eq!(bytes(source), 1_000);
}

#[test]
fn what_was_read_before_the_start_is_no_news() {
    let mut books = Books::default();
    let file = seen(1, 1_000).file;
    books.was_open(7, BY, Some(50_000), seen(1, 1_000), 600);
    assert_eq!(
        bytes(look(&mut books, 50_100, &[(file, Stand::At(700))])),
        100
    );
}

#[test]
fn what_was_read_before_a_file_was_opened_again_is_not_of_it() {
    let mut books = books();
    books.closed(7, BY, Some(6_000), seen(1, 1_000));
    look(&mut books, 90_000, &[]);
    books.forget(|_| false);
    books.opened(7, BY, Some(90_100), seen(1, 1_000));
    let read = books.closed(7, BY, Some(90_150), seen(1, 1_000));
    assert_eq!(bytes(read), 150);
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut books = books();
    books.forget(|pid| pid == 7);
    assert_eq!(books.open().count(), 1, "its closes may be on their way");
    (1..GONE).for_each(|_| books.forget(|pid| pid == 7));
    assert_eq!(books.open().count(), 0);
}
