//! Device nodes through which data can leave past every file system and socket.

use std::fs;
use std::path::{Path, PathBuf};

/// Nodes that are watched at the most; beyond, further ones are not.
pub const NODES_LIMIT: usize = 1_024;

/// The first device of each bus of USB is the host's own hub, which `lsusb -v` opens.
const HUB: &str = "001";

/// USB devices (phones by MTP, cameras), SCSI generic devices (burners, disks), tapes and printers, sorted.
#[must_use]
pub fn nodes(dev: &Path) -> Vec<PathBuf> {
    let usb = below(&dev.join("bus/usb")).flat_map(|bus| below(&bus));
    let usb = usb.filter(|device| device.file_name().is_some_and(|name| name != HUB));
    let printers = below(&dev.join("usb")).filter(|node| is_numbered(node, &["lp"]));
    let others = below(dev).filter(|node| is_numbered(node, &["sg", "st", "nst", "lp"]));
    let mut nodes: Vec<PathBuf> = usb.chain(printers).chain(others).collect();
    nodes.sort();
    nodes.truncate(NODES_LIMIT);
    nodes
}

/// Whether it is one of these with a number behind.
fn is_numbered(node: &Path, kinds: &[&str]) -> bool {
    let name = node.file_name().and_then(|name| name.to_str());
    let number = |kind: &&str| name?.strip_prefix(kind);
    let mut numbers = kinds.iter().filter_map(number);
    numbers.any(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn below(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_burners_tapes_and_printers_are_found_and_nothing_else() {
        let dev = tempfile::tempdir().unwrap();
        let names = [
            "bus/usb/001/001",
            "bus/usb/001/004",
            "bus/usb/002/001",
            "lp0",
            "nst0",
            "sda",
            "sg1",
            "sgx",
            "st",
            "st0",
            "tty1",
            "usb/hiddev0",
            "usb/lp0",
        ];
        for name in names {
            let node = dev.path().join(name);
            fs::create_dir_all(node.parent().unwrap()).unwrap();
            fs::write(node, "").unwrap();
        }
        let found = nodes(dev.path());
        let name = |node: &PathBuf| node.strip_prefix(dev.path()).unwrap().display().to_string();
        let found: Vec<String> = found.iter().map(name).collect();
        let expected = ["bus/usb/001/004", "lp0", "nst0", "sg1", "st0", "usb/lp0"];
        assert_eq!(found, expected);
    }
}
