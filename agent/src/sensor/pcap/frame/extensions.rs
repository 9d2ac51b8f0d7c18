//! The extension headers of an IPv6 packet, looked through for the one that makes the packet a part of another.

use etherparse::{IpNumber, Ipv6ExtensionsSlice, Ipv6FragmentHeaderSlice};

use super::Fragment;

/// The first fragment header that really parts a packet. Walks on its own: etherparse's iterator (0.21) believes that
/// every header was found whole, and reads past the end of a lax slice whose headers are cut or in a wrong order.
pub fn fragment(extensions: &Ipv6ExtensionsSlice<'_>) -> Option<Fragment> {
    let mut number = extensions.first_header()?;
    let mut rest = extensions.slice();
    loop {
        let &[next, length, ..] = rest else {
            return None;
        };
        let length = usize::from(length);
        // RFC 8200, 4.3 to 4.6; RFC 4302, 2.2.
        let bytes = match number {
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS => (length + 1) * 8,
            IpNumber::IPV6_FRAGMENTATION_HEADER => 8,
            IpNumber::AUTHENTICATION_HEADER => (length + 2) * 4,
            _ => return None,
        };
        let (header, after) = rest.split_at_checked(bytes)?;
        if number == IpNumber::IPV6_FRAGMENTATION_HEADER {
            let part = Ipv6FragmentHeaderSlice::from_slice(header).ok()?;
            if part.is_fragmenting_payload() {
                return Some(Fragment {
                    id: part.identification(),
                    first: part.fragment_offset().value() == 0,
                });
            }
        }
        number = IpNumber(next);
        rest = after;
    }
}
