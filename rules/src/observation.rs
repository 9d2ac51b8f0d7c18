//! One thing worth counting, with all that a rule can select, group or count it by.

use std::net::SocketAddr;

use crate::contracts::Refusal;
use crate::event::{GapKind, Name};
use crate::hold::Amount;
use crate::names::{NOBODY, NameId};
use crate::rule::{AppProtocol, First, Scope};

/// What kind of thing it is. A send that exposes two stores is one `Send` and two `Expose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Bytes left.
    Send,
    /// Bytes left while their sender held data of a store, or served it.
    Expose,
    /// Bytes of a store were read.
    Read,
    /// Something was lost or is not seen.
    Gap,
    /// Bytes left that no socket sent, or that went elsewhere than it said.
    Wire,
    /// A decoy was opened.
    Decoy,
    /// Names were looked up that had not been before.
    Lookup,
    /// ICMP messages left that carry what no other had carried before.
    Icmp,
    /// A holder wrote to a medium that can be taken away.
    Medium,
    /// The memory of a holder, or of a service of a store, was read.
    Memory,
    /// A medical system asked for something, or told something.
    Medical,
    /// Something was seen for the first time.
    First,
    /// A holder opened a device that data can leave by.
    Device,
}

/// All subjects, in order.
pub const SUBJECTS: [Subject; 13] = [
    Subject::Send,
    Subject::Expose,
    Subject::Read,
    Subject::Gap,
    Subject::Wire,
    Subject::Decoy,
    Subject::Lookup,
    Subject::Icmp,
    Subject::Medium,
    Subject::Memory,
    Subject::Medical,
    Subject::First,
    Subject::Device,
];

/// One thing worth counting. What does not apply is `NOBODY`, `None` or 0.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Which kind.
    pub subject: Subject,
    /// The store.
    pub store: NameId,
    /// The session's name.
    pub session: NameId,
    /// Path of the program.
    pub exe: NameId,
    /// Effective user.
    pub user: NameId,
    /// Registrable domain of the remote's name, else its address.
    pub domain: NameId,
    /// The interface.
    pub interface: NameId,
    /// This host; in a recording, the local address.
    pub host: NameId,
    /// The sensor.
    pub sensor: NameId,
    /// The other end.
    pub remote: Option<SocketAddr>,
    /// The other end's name, where one was seen.
    pub remote_name: Option<Name>,
    /// Where to, or of whom, beside addresses: a medium, a session.
    pub place: Option<Name>,
    /// The medical protocol that the flow speaks.
    pub protocol: Option<AppProtocol>,
    /// DICOM title of the other end; of a move, of whom objects shall go to.
    pub ae_title: NameId,
    /// Whether a contract names that title; `None` where no contract names any.
    pub ae_named: Option<bool>,
    /// What is seen for the first time.
    pub first: Option<First>,
    /// Port of this host that answered for the first time.
    pub port: NameId,
    /// The destination got store data for the first time a short while ago.
    pub new_destination: bool,
    /// Where the bytes go.
    pub scope: Option<Scope>,
    /// Sent by a unit that `serves` the store (any store, where none is exposed).
    pub serves: bool,
    /// By one of the listed readers.
    pub reader: bool,
    /// Read of a block device that the store lies on, or sent with its subvolume.
    pub below: bool,
    /// A contract that is for these bytes and does not hold, and why.
    pub beside: Option<(Name, Refusal)>,
    /// What kind of gap.
    pub gap: Option<GapKind>,
    /// The amounts that measures pick from.
    pub amounts: Amounts,
    /// What the session held of the store, and had exposed of it in this scope, this one included.
    pub held: Amount,
    /// Bytes exposed by the session so far (24 h), this one included.
    pub exposed_bytes_so_far: u64,
    /// Records exposed by the session so far (24 h), about, this one included.
    pub exposed_records_so_far: u64,
    /// How much of the store was read is an estimate.
    pub estimated: bool,
    /// Why there is a gap.
    pub why: Option<Name>,
}

/// What measures pick from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Payload bytes that left.
    pub sent_bytes: u64,
    /// Of those, bytes on connections that the other side opened, by a holder or a service of a store.
    pub served_bytes: u64,
    /// Connections opened.
    pub connections: u64,
    /// Bytes booked as exposed.
    pub exposed_bytes: u64,
    /// Records that became exposed.
    pub exposed_records: u64,
    /// Bytes read of a store.
    pub read_bytes: u64,
    /// Files of a store that the session had not read before.
    pub files_read: u64,
    /// Gaps.
    pub gaps: u64,
    /// Bytes on the wire that no socket of this host says it sent.
    pub unattributed_bytes: u64,
    /// Bytes on the wire to another address than the socket's.
    pub rewritten_bytes: u64,
    /// Decoys opened.
    pub decoys_touched: u64,
    /// Distinct names looked up.
    pub dns_names: u64,
    /// Text of those, without their registrable domain, bytes.
    pub dns_name_bytes: u64,
    /// ICMP payload that is no repetition.
    pub icmp_bytes: u64,
    /// Bytes written to media.
    pub media_bytes: u64,
    /// Reads of another's memory.
    pub memory_reads: u64,
    /// DICOM objects that shall go elsewhere: requests.
    pub dicom_moves: u64,
    /// DICOM objects that shall be taken.
    pub dicom_stores: u64,
    /// HL7 messages that left.
    pub hl7_messages: u64,
    /// Things seen for the first time.
    pub first_seen: u64,
    /// Devices opened that data can leave by.
    pub devices_opened: u64,
}

impl Observation {
    /// An observation of nothing.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self {
            subject,
            store: NOBODY,
            session: NOBODY,
            exe: NOBODY,
            user: NOBODY,
            domain: NOBODY,
            interface: NOBODY,
            host: NOBODY,
            sensor: NOBODY,
            remote: None,
            remote_name: None,
            place: None,
            protocol: None,
            ae_title: NOBODY,
            ae_named: None,
            first: None,
            port: NOBODY,
            new_destination: false,
            scope: None,
            serves: false,
            reader: false,
            below: false,
            beside: None,
            gap: None,
            amounts: Amounts {
                sent_bytes: 0,
                served_bytes: 0,
                connections: 0,
                exposed_bytes: 0,
                exposed_records: 0,
                read_bytes: 0,
                files_read: 0,
                gaps: 0,
                unattributed_bytes: 0,
                rewritten_bytes: 0,
                decoys_touched: 0,
                dns_names: 0,
                dns_name_bytes: 0,
                icmp_bytes: 0,
                media_bytes: 0,
                memory_reads: 0,
                dicom_moves: 0,
                dicom_stores: 0,
                hl7_messages: 0,
                first_seen: 0,
                devices_opened: 0,
            },
            held: Amount {
                bytes: 0,
                files: 0.0,
                records: 0.0,
            },
            exposed_bytes_so_far: 0,
            exposed_records_so_far: 0,
            estimated: false,
            why: None,
        }
    }
}
