//! Opens of files that are watched for just that: decoys, and devices that data can leave by.

use jaga_rules::event::{Actor, DeviceOpened, Event, Fact, Name};

use super::seen::By;

/// A file that is watched was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// By whom.
    pub by: By,
    /// What it is.
    pub what: Watched,
    /// How often.
    pub opens: u64,
}

/// A file of which every open is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// A decoy, by its name.
    Decoy(Name),
    /// A device node, by its path.
    Device(Name),
}

impl Touched {
    /// By this process.
    #[must_use]
    pub fn told(self, actor: Actor) -> Event {
        let opens = self.opens;
        Event::Fact(match self.what {
            Watched::Decoy(decoy) => Fact::Decoy {
                actor,
                decoy,
                opens,
            },
            Watched::Device(device) => Fact::Device(DeviceOpened {
                actor,
                device,
                opens,
            }),
        })
    }
}
