//! Sizes, times, counts, shares and rates: what is shown reads back as the same value.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use jaga_rules::units::{Bytes, Count, Quantity, Rate, Share, Span};

/// What the user wrote.
pub fn run(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    reads_back::<Bytes>(&text);
    reads_back::<Span>(&text);
    reads_back::<Count>(&text);
    reads_back::<Quantity>(&text);
    reads_back::<Rate>(&text);
    share_stays(&text);
}

fn reads_back<T>(text: &str)
where
    T: FromStr<Err = String> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            let read = shown.parse::<T>();
            assert_eq!(read.as_ref(), Ok(&value), "{text:?} is shown as {shown:?}");
        }
        Err(message) => assert!(!message.is_empty()),
    }
}

/// A share is shown with nine digits: what is shown reads back as what is shown the same.
fn share_stays(text: &str) {
    if let Ok(share) = text.parse::<Share>() {
        assert!((0.0..=1.0).contains(&share.0), "{share:?}");
        let shown = share.to_string();
        let read: Share = shown.parse().expect("what is shown is read");
        assert_eq!(read.to_string(), shown);
    }
}
